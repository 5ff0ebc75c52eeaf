//! The name of the broker that is asked.

use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::cli::client::Client;
use crate::cli::{Failure, Outcome};

/// The broker of one request, which is asked for its name where that is needed, and once.
pub(super) struct Named<'a> {
    pub(super) client: &'a Client,
    pub(super) issuer: OnceCell<String>,
}

impl Named<'_> {
    pub(super) async fn issuer(&self) -> Outcome<&str> {
        self.issuer.get_or_try_init(|| issuer(self.client)).await.map(String::as_str)
    }
}

/// The broker's own name, from its metadata (RFC 8414 §3): the audience of an assertion and of the
/// token that a platform makes.
///
/// It must be of the origin that was asked. Otherwise whoever answers there could have a proof
/// made out to another broker, and use it there.
async fn issuer(client: &Client) -> Outcome<String> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
    }
    let answer = client.get("/.well-known/oauth-authorization-server", &[]).await?.success()?;
    let Metadata { issuer } = answer.json()?;
    match issuer.parse() {
        Ok(url) if client.base().is_origin_of(&url) => Ok(issuer),
        _ => Err(Failure::failed(format!("the broker at {} calls itself {issuer}", client.base())).remedy(
            "give the broker's own name with --url or HALLPASS_URL; nothing was signed for another one",
        )),
    }
}
