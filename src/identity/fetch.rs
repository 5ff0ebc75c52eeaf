//! Where an issuer's JWK set is read: the one place of the broker that contacts an issuer.
//!
//! Every address is the operator's, or comes from the discovery document of the operator's address.
//! Nothing in a token chooses one. Little time, few bytes; `outbound` promises the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::TrustAnchor;
use serde::Deserialize;
use url::{Origin, Url};
use zeroize::Zeroizing;

use crate::domain::id::IssuerName;
use crate::domain::secure::is_secure;
use crate::domain::spiffe::SpiffeId;
use crate::files::{self, Unreadable};
use crate::identity::error::AuthenticatorError;
use crate::identity::jwks::BadJwks;
use crate::identity::settings::{
    BundleSource, IssuerSettings, KeySource, SpiffeEndpoint, TrustDomainSettings,
};
use crate::identity::workload_api::{self, WorkloadApiError};
use crate::outbound::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use crate::outbound::{self, Client, Limits, Method, Request, Roots, Way};

/// For discovery and the set together.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Before what failed with a status of 500 or more is asked once more.
const AGAIN: Duration = Duration::from_millis(250);

/// The greatest document that is read, bytes.
const MAX_DOCUMENT: usize = 512 * 1024;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    // `Source::fetch` bounds all that one fetch asks.
    total: None,
    body: MAX_DOCUMENT,
    // A fetch every ten minutes is not worth a connection kept open.
    keep_alive: false,
};

/// The greatest bearer token, bytes.
const MAX_BEARER: usize = 16 * 1024;

/// Why no JWK set was had. Prints no more than what the operator configured and hallpass found.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer: {0}")]
    NoAnswer(#[source] outbound::Error),
    #[error("{0}")]
    File(#[source] Unreadable),
    #[error("no complete answer within 5 s")]
    Timeout,
    #[error("answered with status {0}, not 200; redirects are not followed")]
    Status(u16),
    #[error("jwks_bearer_file: {0}")]
    Bearer(#[source] Unreadable),
    #[error("jwks_bearer_file holds no bearer token: one line of visible ASCII, at most 16 KiB")]
    BadBearer,
    #[error(
        "answered with status {0}; jwks_bearer_file was not sent there, for jwks_uri has another origin than the issuer's url: write jwks_url"
    )]
    BearerKept(u16),
    #[error("the document is over 512 KiB")]
    TooLarge,
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    BadDiscovery,
    #[error("the discovery document is of another issuer than the configured url")]
    OtherIssuer,
    #[error("jwks_uri must be https, or http on a loopback host where the issuer's url is that too")]
    InsecureJwksUri,
    #[error(transparent)]
    WorkloadApi(#[from] WorkloadApiError),
    #[error(transparent)]
    BadJwks(#[from] BadJwks),
}

impl From<outbound::Error> for FetchError {
    fn from(error: outbound::Error) -> Self {
        match error {
            outbound::Error::TooLarge(_) => Self::TooLarge,
            error => Self::NoAnswer(error),
        }
    }
}

/// How to come by the set.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url {
        web: Web,
        url: Url,
    },
    Discovery {
        web: Web,
        url: Url,
        issuer: String,
    },
    /// A bundle endpoint that is known by its SVID.
    Endpoint {
        endpoint: SpiffeEndpoint,
        way: Way,
        verifier: MakeVerifier,
    },
    /// The bundle that the SPIFFE Workload API of this machine has of a trust domain.
    WorkloadApi {
        endpoint: spiffe::transport::Endpoint,
        domain: IssuerName,
    },
}

/// Makes what believes the workload of this id alone, if one of the anchors vouches for it.
pub(super) type MakeVerifier = fn(SpiffeId, Vec<TrustAnchor<'static>>) -> Arc<dyn ServerCertVerifier>;

impl Source {
    /// The file that is read at the start, so that a mistake in it is told then.
    pub(super) fn file_at_start(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => self.bootstrap(),
        }
    }

    /// The file of a bundle that vouches for the endpoint.
    pub(super) fn bootstrap(&self) -> Option<&Path> {
        match self {
            Self::Endpoint { endpoint, .. } => Some(&endpoint.bootstrap),
            _ => None,
        }
    }

    /// Whether asking costs next to nothing, so that it is asked all the time.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::File(_) | Self::WorkloadApi { .. })
    }
}

/// An issuer's documents, and what it wants to see before it shows them.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    bearer: Option<Bearer>,
}

/// A bearer token for the one origin that the operator meant it for.
#[derive(Debug)]
struct Bearer {
    file: PathBuf,
    origin: Origin,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: Url,
}

impl Source {
    /// Reads the certificates of `ca_file`; contacts nobody.
    pub(super) fn new(settings: &IssuerSettings, way: &Way) -> Result<Self, AuthenticatorError> {
        let url = match &settings.keys {
            KeySource::File(path) => return Ok(Self::File(path.clone())),
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery => discovery_url(&settings.url).ok_or_else(|| insecure(settings))?,
        };
        if !is_secure(&url) {
            return Err(insecure(settings));
        }
        let client = client(&settings.name, settings.ca_file.as_deref(), &url, way)?;
        let bearer = settings.jwks_bearer_file.clone().map(|file| Bearer { file, origin: url.origin() });
        let web = Web { client, bearer };
        Ok(match settings.keys {
            KeySource::Discovery => Self::Discovery { web, url, issuer: settings.url.clone() },
            _ => Self::Url { web, url },
        })
    }

    /// Where a trust domain's bundle is: for an endpoint in the profile `https_web` (SPIFFE Federation §5.2.1) or, by
    /// `verifier`, `https_spiffe`. Reads the certificates of `ca_file`; contacts nobody.
    pub(super) fn of_bundle(
        settings: &TrustDomainSettings,
        way: &Way,
        verifier: MakeVerifier,
    ) -> Result<Self, AuthenticatorError> {
        let name = &settings.name;
        match &settings.bundle {
            BundleSource::File(path) => Ok(Self::File(path.clone())),
            BundleSource::WorkloadApi(endpoint) => {
                Ok(Self::WorkloadApi { endpoint: endpoint.clone(), domain: name.clone() })
            }
            BundleSource::Endpoint(endpoint) => {
                Ok(Self::Endpoint { endpoint: endpoint.clone(), way: way.clone(), verifier })
            }
            BundleSource::Url(url) if !is_secure(url) => {
                Err(AuthenticatorError::InsecureUrl { issuer: name.clone() })
            }
            BundleSource::Url(url) => {
                let client = client(name, settings.ca_file.as_deref(), url, way)?;
                Ok(Self::Url { web: Web { client, bearer: None }, url: url.clone() })
            }
        }
    }

    /// The bytes of the set. `anchors` vouch for a bundle endpoint's SVID.
    pub(super) async fn fetch(
        &self,
        anchors: impl FnOnce() -> Vec<TrustAnchor<'static>>,
    ) -> Result<Vec<u8>, FetchError> {
        let read = async {
            match self {
                Self::File(path) => read_document(path).await,
                Self::Endpoint { endpoint, way, verifier } => {
                    let roots = Roots::By(verifier(endpoint.id.clone(), anchors()));
                    let client = Client::by(LIMITS, roots, None, way.clone())?;
                    Web { client, bearer: None }.get(&endpoint.url).await
                }
                Self::Url { web, url } => web.get(url).await,
                Self::WorkloadApi { endpoint, domain } => Ok(workload_api::bundle(endpoint, domain).await?),
                Self::Discovery { web, url, issuer } => {
                    let jwks_uri = discover(web, url, issuer).await?;
                    web.get(&jwks_uri).await
                }
            }
        };
        tokio::time::timeout(TOTAL_TIMEOUT, read).await.map_err(|_| FetchError::Timeout)?
    }
}

/// OpenID Connect Discovery 1.0 §4.3: the document must be of the very issuer that was asked.
async fn discover(web: &Web, url: &Url, issuer: &str) -> Result<Url, FetchError> {
    let document = web.get(url).await?;
    let document: DiscoveryDocument =
        serde_json::from_slice(&document).map_err(|_| FetchError::BadDiscovery)?;
    if document.issuer != issuer {
        return Err(FetchError::OtherIssuer);
    }
    // An issuer out there must not point the broker at its own host.
    if document.jwks_uri.scheme() != url.scheme() || !is_secure(&document.jwks_uri) {
        return Err(FetchError::InsecureJwksUri);
    }
    Ok(document.jwks_uri)
}

impl Web {
    /// Asks once more where the server, or a proxy before it, says that the fault is its own.
    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        match self.get_once(url).await {
            Err(FetchError::Status(500..=599)) => {
                tokio::time::sleep(AGAIN).await;
                self.get_once(url).await
            }
            got => got,
        }
    }

    async fn get_once(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let bearer = self.bearer.as_ref();
        // The document of an issuer may name any host; what is meant for the issuer goes to it alone.
        let meant = bearer.filter(|bearer| bearer.origin == url.origin());
        if let Some(bearer) = meant {
            request.headers_mut().insert(AUTHORIZATION, bearer.header().await?);
        }
        let mut response = self.client.send(request).await?;
        match response.status() {
            200 => {}
            status @ (401 | 403) if bearer.is_some() && meant.is_none() => {
                return Err(FetchError::BearerKept(status));
            }
            status => return Err(FetchError::Status(status)),
        }
        Ok(std::mem::take(&mut *response.body().await?))
    }
}

impl Bearer {
    /// Read each time: a pod's token is renewed in place.
    async fn header(&self) -> Result<HeaderValue, FetchError> {
        let bytes = read(&self.file, MAX_BEARER).await.map_err(|error| match error {
            Unreadable::TooLarge(_) => FetchError::BadBearer,
            error => FetchError::Bearer(error),
        })?;
        let token = bytes.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(FetchError::BadBearer);
        }
        let value = Zeroizing::new([b"Bearer ", token].concat());
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| FetchError::BadBearer)?;
        // Not shown by any Debug, nor kept in HTTP/2's table of headers.
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A document in a file.
pub(super) async fn read_document(path: &Path) -> Result<Vec<u8>, FetchError> {
    match read(path, MAX_DOCUMENT).await {
        Ok(mut document) => Ok(std::mem::take(&mut *document)),
        Err(Unreadable::TooLarge(_)) => Err(FetchError::TooLarge),
        Err(error) => Err(FetchError::File(error)),
    }
}

/// A file that an issuer's settings name; what stands in it may be a secret.
async fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || files::read(&path, most)).await;
    read.unwrap_or_else(|_| Err(std::io::Error::other("the reading of it was broken off").into()))
}

fn discovery_url(issuer: &str) -> Option<Url> {
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()
}

fn insecure(settings: &IssuerSettings) -> AuthenticatorError {
    AuthenticatorError::InsecureUrl { issuer: settings.name.clone() }
}

/// A client for this issuer alone, so that one's `ca_file` vouches for no other.
fn client(
    issuer: &IssuerName,
    ca_file: Option<&Path>,
    url: &Url,
    way: &Way,
) -> Result<Client, AuthenticatorError> {
    let roots = match ca_file {
        _ if url.scheme() != "https" => Roots::Nobody,
        None => Roots::System,
        Some(path) => roots(issuer, path)?,
    };
    let problem = |problem: String| AuthenticatorError::Client { issuer: issuer.clone(), problem };
    let client = Client::by(LIMITS, roots, None, way.clone()).map_err(|error| problem(error.to_string()))?;
    match client.trusts_nobody() {
        Some(why) => Err(problem(why.to_owned())),
        None => Ok(client),
    }
}

fn roots(issuer: &IssuerName, path: &Path) -> Result<Roots, AuthenticatorError> {
    let (issuer, path) = (|| issuer.clone(), || path.to_owned());
    let pem = std::fs::read(path()).map_err(|source| AuthenticatorError::Unreadable {
        issuer: issuer(),
        path: path(),
        source,
    })?;
    Roots::and_pem(&pem).map_err(|error| match error {
        outbound::Error::NoCertificates(problem) => {
            AuthenticatorError::BadCertificates { issuer: issuer(), path: path(), problem }
        }
        error => AuthenticatorError::Client { issuer: issuer(), problem: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_below_the_issuer_whatever_its_last_slash() {
        for (issuer, url) in [
            ("https://a.test", "https://a.test/.well-known/openid-configuration"),
            ("https://a.test/", "https://a.test/.well-known/openid-configuration"),
            ("https://a.test/t/v2.0", "https://a.test/t/v2.0/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer).unwrap().as_str(), url);
        }
    }
}
