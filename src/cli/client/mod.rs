//! The HTTP client of every command: one broker, one origin, no redirects, no proxies from the
//! environment, 5 s to connect, 30 s in all, answers of at most 8 MiB unless they are copied as they
//! come. TLS trusts what the system trusts (`SSL_CERT_FILE` names another bundle).

mod copy;
mod platform;
mod retry_after;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::{Method, Request, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::broker_url::BrokerUrl;
use crate::cli::certificate::Certificate;
use crate::cli::problem::Problem;
use crate::cli::{Failure, Outcome, link};

const FORM: &str = "application/x-www-form-urlencoded";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_BODY: usize = 8 * 1024 * 1024;
/// A list longer than this is a broker that turns in circles.
const MAX_PAGES: usize = 10_000;

/// Runs what a command asks of the network.
///
/// # Errors
/// What `work` fails with, or that the machine gives no event loop.
pub fn wait<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start an event loop: {error}")))?.block_on(work)
}

/// Speaks to one listener of one broker.
pub struct Client {
    http: reqwest::Client,
    base: BrokerUrl,
    /// The flag and variable that name `base`.
    named_by: &'static str,
    bearer: Option<HeaderValue>,
}

impl Client {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(base: BrokerUrl, named_by: &'static str) -> Outcome<Self> {
        let built = builder().build();
        let http = built.map_err(|e| Failure::failed(format!("cannot set up HTTP: {}", root_cause(&e))))?;
        Ok(Self { http, base, named_by, bearer: None })
    }

    /// The same, over connections of its own that show `certificate` to the broker.
    ///
    /// # Errors
    /// When the broker is not asked over TLS, or the key is not the certificate's.
    pub fn showing(&self, certificate: &Certificate) -> Outcome<Self> {
        if self.base.join("/").scheme() != "https" {
            let unseen = format!("a certificate is shown in TLS, and {} is asked without", self.base);
            return Err(Failure::usage(unseen)
                .remedy(format!("name the broker's https address with {}", self.named_by)));
        }
        let built = builder().identity(certificate.identity()?).build();
        let http = built.map_err(|error| {
            Failure::failed(format!("the X.509-SVID cannot be shown: {}", root_cause(&error)))
                .remedy("give the key that belongs to the first certificate of the chain; if both are just being renewed, ask again")
        })?;
        Ok(Self { http, base: self.base.clone(), named_by: self.named_by, bearer: self.bearer.clone() })
    }

    /// The same, with a credential in every request (RFC 6750 §2.1).
    ///
    /// # Errors
    /// When the credential holds characters that no credential has.
    pub fn with_bearer(mut self, credential: &SecretString) -> Outcome<Self> {
        let credential = credential.expose_secret();
        if !is_bearer_token(credential) {
            return Err(Failure::failed("the key is not one line of letters, digits and - . _ ~ + /"));
        }
        let text = Zeroizing::new(format!("Bearer {credential}"));
        let header = HeaderValue::from_str(&text);
        let mut header = header.map_err(|_| Failure::failed("the key does not fit into a header"))?;
        header.set_sensitive(true);
        self.bearer = Some(header);
        Ok(self)
    }

    pub fn base(&self) -> &BrokerUrl {
        &self.base
    }

    /// # Errors
    /// See [`Client::send`].
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Outcome<Answer> {
        let mut url = self.base.join(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(Request::new(Method::GET, url)).await
    }

    /// # Errors
    /// See [`Client::send`].
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Outcome<Answer> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.base.join(path);
        url.set_query(query);
        self.send(post(url, "application/json", body.to_string())).await
    }

    /// # Errors
    /// See [`Client::send`].
    pub async fn post_form(&self, path: &str, body: String) -> Outcome<Answer> {
        self.send(post(self.base.join(path), FORM, body)).await
    }

    /// The same, with a DPoP proof (RFC 9449 §5).
    ///
    /// # Errors
    /// See [`Client::send`].
    pub async fn post_form_with_dpop(&self, path: &str, body: String, proof: &str) -> Outcome<Answer> {
        let mut request = post(self.base.join(path), FORM, body);
        let header = HeaderValue::from_str(proof);
        let header = header.map_err(|_| Failure::failed("the DPoP proof does not fit into a header"))?;
        request.headers_mut().insert("dpop", header);
        self.send(request).await
    }

    /// The first `want` elements of the list `member`, page by page (RFC 8288 `next`), as they were sent.
    ///
    /// # Errors
    /// As [`Client::send`] and [`Answer::success`]; also when the next page is not at the broker itself,
    /// for the key must not go elsewhere.
    pub async fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        member: &str,
        want: usize,
    ) -> Outcome<Vec<Box<RawValue>>> {
        let mut items = Vec::new();
        let mut answer = self.get(path, query).await?.success()?;
        for _ in 0..MAX_PAGES {
            let mut page = answer.member(member)?;
            let empty = page.is_empty();
            page.truncate(want - items.len());
            items.append(&mut page);
            let Some(next) = answer.next_page().filter(|_| !empty && items.len() < want) else {
                return Ok(items);
            };
            if !self.base.is_origin_of(&next) {
                return Err(Failure::failed(format!("the next page is at {next}, which is not the broker"))
                    .remedy(
                        "nothing was sent there; ask whoever runs the broker why its Link header names it",
                    ));
            }
            answer = self.send(Request::new(Method::GET, next)).await?.success()?;
        }
        Err(Failure::failed(format!("the list has over {MAX_PAGES} pages; narrow the question")))
    }

    /// # Errors
    /// When no whole answer came: refused, timed out, TLS, or over 8 MiB. Any status is an answer.
    async fn send(&self, request: Request) -> Outcome<Answer> {
        self.collect(self.execute(request).await?).await
    }

    async fn execute(&self, mut request: Request) -> Outcome<Response> {
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        self.http.execute(request).await.map_err(|error| self.unreachable(&error))
    }

    async fn collect(&self, mut response: Response) -> Outcome<Answer> {
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Failure::failed(format!("the answer of {} is over 8 MiB", self.base)));
            }
            body.extend_from_slice(&chunk);
        }
        let (url, headers) = (response.url().clone(), response.headers().clone());
        Ok(Answer { status: response.status().as_u16(), headers, url, body })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = cause_of(error);
        if !error.is_connect() {
            return Failure::failed(format!("no whole answer from the broker at {}: {cause}", self.base))
                .remedy("what was asked may have been done or not; look before you ask again")
                .passing(Duration::ZERO);
        }
        let failure = Failure::failed(format!("cannot reach the broker at {}: {cause}", self.base));
        if chain(error).any(is_tls) {
            return failure
                .remedy("name the broker as its certificate does, and trust who signed it: SSL_CERT_FILE");
        }
        failure
            .remedy(format!("start it (hallpass serve), or name another address with {}", self.named_by))
            .passing(Duration::ZERO)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one client of the command line, and its limits")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
}

fn post(url: Url, media_type: &'static str, body: String) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    *request.body_mut() = Some(body.into());
    request
}

/// One answer of the broker, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    url: Url,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The answer, if it is a yes.
    ///
    /// # Errors
    /// Refused for 4xx, with the broker's own words; failed for 5xx, and for a redirect.
    pub fn success(self) -> Outcome<Self> {
        match self.status {
            200..=299 => Ok(self),
            300..=399 => Err(self.redirected()),
            status => {
                let retry_after = self.header(RETRY_AFTER.as_str());
                let failure = Problem::read(&self.body).failure(status, retry_after, &self.url);
                Err(match self.passes_after() {
                    Some(after) => failure.passing(after),
                    None => failure,
                })
            }
        }
    }

    /// How long to wait at least before asking again helps: of 429 and 503 alone.
    pub fn passes_after(&self) -> Option<Duration> {
        matches!(self.status, 429 | 503).then(|| retry_after::wait(&self.headers))
    }

    /// The nonce that the next DPoP proof has to bring, where this answer refuses one without (RFC 9449 §8).
    pub fn demands_nonce(&self) -> Option<&str> {
        let demands = self.status == 400 && Problem::read(&self.body).is("use_dpop_nonce");
        self.header("dpop-nonce").filter(|_| demands)
    }

    /// # Errors
    /// When the body is not what hallpass answers here.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Outcome<T> {
        serde_json::from_slice(&self.body).map_err(|error| self.foreign(&error.to_string()))
    }

    /// # Errors
    /// When the body is not UTF-8.
    pub fn text(&self) -> Outcome<&str> {
        std::str::from_utf8(&self.body).map_err(|_| self.foreign("the body is not text"))
    }

    fn member<T: DeserializeOwned>(&self, name: &str) -> Outcome<Vec<T>> {
        let mut members: std::collections::HashMap<&str, &RawValue> = self.json()?;
        let list = members.remove(name).ok_or_else(|| self.foreign(&format!("it has no {name}")))?;
        serde_json::from_str(list.get()).map_err(|error| self.foreign(&error.to_string()))
    }

    fn next_page(&self) -> Option<Url> {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        link::next(links, &self.url).filter(|next| *next != self.url)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn redirected(&self) -> Failure {
        let there = self.header(LOCATION.as_str()).unwrap_or("nowhere");
        Failure::failed(format!("{} redirects to {there}; redirects are not followed", self.url))
            .remedy("give the broker's own address")
    }

    /// The failure of an answer that this version cannot read.
    pub fn foreign(&self, why: &str) -> Failure {
        Failure::failed(format!("the answer of {} is not hallpass's: {why}", self.url))
            .remedy("check that the address is the broker's, and the right one of its two listeners")
    }
}

/// Whether `text` can stand in `Authorization: Bearer` (the `b64token` of RFC 6750 §2.1). Such a
/// text can stand unquoted in a header and in a shell, too.
pub fn is_bearer_token(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(inner)
}

fn cause_of(error: &reqwest::Error) -> String {
    match error.is_timeout() {
        true => "no answer in time".to_owned(),
        false => root_cause(error),
    }
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

fn chain(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(Some(error), |error| error.source())
}

/// What lies at the bottom of an error: «connection refused», not «error sending request».
fn root_cause(error: Cause<'_>) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// Whether it is TLS that failed, which hides within I/O errors that do not name it as their source.
fn is_tls(cause: Cause<'_>) -> bool {
    let hidden = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is::<rustls::Error>() || hidden.is_some_and(|hidden| is_tls(hidden))
}
