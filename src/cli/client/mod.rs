//! What every command asks the broker by: one broker, one origin, 5 s to connect, 30 s in all, answers of at
//! most 8 MiB unless they are copied as they come. `outbound` promises the rest.

mod copy;
mod platform;
mod retry_after;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::broker_url::BrokerUrl;
use crate::cli::certificate::Certificate;
use crate::cli::listener::Listener;
use crate::cli::problem::Problem;
use crate::cli::{Failure, Outcome, link};
use crate::outbound::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER,
};
use crate::outbound::{self, Error, Limits, Method, Request, Response, Roots, Way};

const FORM: &str = "application/x-www-form-urlencoded";
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    total: Some(TOTAL_TIMEOUT),
    body: 8 * 1024 * 1024,
    keep_alive: true,
};
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
    http: outbound::Client,
    base: BrokerUrl,
    listener: Listener,
    way: Way,
    bearer: Option<HeaderValue>,
}

impl Client {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(base: BrokerUrl, listener: Listener) -> Outcome<Self> {
        Self::over(base, listener, Way::default())
    }

    /// The same, by a proxy where `way` says so.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn over(base: BrokerUrl, listener: Listener, way: Way) -> Outcome<Self> {
        let built = outbound::Client::by(LIMITS, Roots::System, None, way.clone());
        let http = built.map_err(|error| Failure::failed(format!("cannot set up HTTP: {error}")))?;
        Ok(Self { http, base, listener, way, bearer: None })
    }

    /// A client of the broker that has the first certificate in `pem`, and of no other, by whatever name.
    ///
    /// # Errors
    /// When there is none, or TLS cannot be set up.
    pub fn of_exactly(base: BrokerUrl, listener: Listener, pem: &[u8]) -> Result<Self, Error> {
        let http = outbound::Client::new(LIMITS, Roots::exactly(pem)?, None)?;
        Ok(Self { http, base, listener, way: Way::default(), bearer: None })
    }

    /// The same, over connections of its own that show `certificate` to the broker.
    ///
    /// # Errors
    /// When the broker is not asked over TLS, or the key is not the certificate's.
    pub fn showing(&self, certificate: &Certificate) -> Outcome<Self> {
        if self.base.join("/").scheme() != "https" {
            let unseen = format!("a certificate is shown in TLS, and {} is asked without", self.base);
            return Err(Failure::usage(unseen)
                .remedy(format!("name the broker's https address with {}", self.listener.named_by())));
        }
        let identity = Some(certificate.identity()?);
        let built = outbound::Client::by(LIMITS, Roots::System, identity, self.way.clone());
        let http = built.map_err(|error| {
            Failure::failed(format!("the X.509-SVID cannot be shown: {error}"))
                .remedy("give the key that belongs to the first certificate of the chain; if both are just being renewed, ask again")
        })?;
        Ok(Self {
            http,
            base: self.base.clone(),
            listener: self.listener,
            way: self.way.clone(),
            bearer: self.bearer.clone(),
        })
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
        self.http.send(request).await.map_err(|error| self.unreachable(&error))
    }

    async fn collect(&self, mut response: Response) -> Outcome<Answer> {
        let body = response.body().await.map_err(|error| self.unreachable(&error))?;
        let (url, headers) = (response.url().clone(), response.headers().clone());
        Ok(Answer { status: response.status(), headers, url, body, listener: self.listener })
    }

    fn unreachable(&self, error: &Error) -> Failure {
        let at = &self.base;
        match error {
            Error::Unreachable { cause, tls: true } => {
                Failure::failed(format!("cannot reach the broker at {at}: {cause}"))
                    .remedy("name the broker as its certificate does, and trust who signed it: SSL_CERT_FILE")
            }
            Error::Unreachable { cause, tls: false } => {
                Failure::failed(format!("cannot reach the broker at {at}: {cause}"))
                    .remedy(format!(
                        "start it (hallpass serve), or name another address with {}",
                        self.listener.named_by()
                    ))
                    .passing(Duration::ZERO)
            }
            Error::NoServerCertificate(cause) => {
                Failure::failed(format!("cannot reach the broker at {at}: {cause}")).remedy(
                    "have the broker show a certificate that is made for a server: one of a CA is for signing others; \
                     with openssl req -x509 add -addext basicConstraints=critical,CA:FALSE",
                )
            }
            Error::NotTls(_) if self.base.is_this_machine() => {
                Failure::failed(format!("cannot reach the broker at {at}: {error}"))
                    .remedy(format!("write http:// instead of https://, with {}", self.listener.named_by()))
            }
            Error::NotTls(cause) => Failure::failed(format!("cannot reach the broker at {at}: {cause}"))
                .remedy(
                    "check the port; the broker has TLS with [server] tls, or behind a proxy that ends it",
                ),
            Error::NotHttp(cause) => Failure::failed(format!("no answer from the broker at {at}: {cause}"))
                .remedy(format!("write https:// instead of http://, with {}", self.listener.named_by())),
            Error::BrokenOff(cause) => {
                Failure::failed(format!("no whole answer from the broker at {at}: {cause}"))
                    .remedy("what was asked may have been done or not; look before you ask again")
                    .passing(Duration::ZERO)
            }
            error => Failure::failed(format!("no answer from the broker at {at}: {error}")),
        }
    }
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
    listener: Listener,
}

impl Answer {
    /// The answer, if it is a yes.
    ///
    /// # Errors
    /// Refused for 4xx, with the broker's own words; failed for 5xx, for a redirect, and for what is not hallpass's.
    pub fn success(self) -> Outcome<Self> {
        match self.status {
            200..=299 => Ok(self),
            300..=399 => Err(self.redirected()),
            status => {
                let retry_after = self.header(RETRY_AFTER.as_str());
                let problem = Problem::read(&self.body);
                let failure = problem.failure(status, retry_after, &self.url, self.listener);
                Err(match self.passes_after() {
                    Some(after) => failure.passing(after),
                    None => failure,
                })
            }
        }
    }

    /// How long to wait at least before asking again helps. It helps where the answer speaks of this moment alone:
    /// 429, and every 5xx (a proxy's 502, 504 or 520 too) but those that say «never» (501, 505) and a fault of
    /// hallpass itself, which the same request meets again.
    pub fn passes_after(&self) -> Option<Duration> {
        let passes = match self.status {
            429 => true,
            501 | 505 => false,
            500 => !Problem::read(&self.body).is_of_hallpass(),
            status => (502..=599).contains(&status),
        };
        passes.then(|| retry_after::wait(&self.headers))
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
