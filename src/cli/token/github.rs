//! The identity token of a GitHub Actions job: the runner gives an address and a token to ask there with,
//! when the job has `permissions: id-token: write`.

use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::cli::client::Client;
use crate::cli::token::proof::{self, Proof};
use crate::cli::{Failure, Outcome};
use crate::domain::secure::is_secure;

pub const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Where the runner says its tokens are: https, or http on loopback.
#[derive(Debug, Clone)]
pub struct RequestUrl(Url);

impl FromStr for RequestUrl {
    type Err = Failure;
    fn from_str(text: &str) -> Outcome<Self> {
        match text.parse::<Url>() {
            Ok(url) if is_secure(&url) && url.username().is_empty() && url.password().is_none() => {
                Ok(Self(url))
            }
            _ => Err(Failure::failed(format!("{REQUEST_URL} is not an https address"))
                .remedy("it is the runner's to set; unset it where this is not a job of GitHub Actions")),
        }
    }
}

/// The host alone: the rest names the job.
impl fmt::Display for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())
    }
}

/// A token of the job, made out to `audience`.
///
/// # Errors
/// When the runner does not answer with one.
pub async fn fetch(
    client: &Client,
    RequestUrl(url): &RequestUrl,
    bearer: &SecretString,
    audience: &str,
) -> Outcome<Proof> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        value: &'a str,
    }
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("audience", audience);
    let answer = client.ask_platform("GitHub Actions", url, bearer).await?;
    let said = |what: &str| Failure::failed(format!("GitHub Actions gave no identity token: {what}"));
    if answer.status != 200 {
        let failure = said(&format!("it answered {}", answer.status)).remedy(match answer.status {
            429 | 500..=599 => {
                "run the job again later; GitHub's status page says whether others meet this too"
            }
            _ => "give the job `permissions: id-token: write`; forks of a public repository get none",
        });
        return Err(match answer.passes_after() {
            Some(after) => failure.passing(after),
            None => failure,
        });
    }
    let Answer { value } = answer.json().map_err(|_| said("its answer has no `value`"))?;
    proof::identity_token(value.into(), "the answer of GitHub Actions")
}
