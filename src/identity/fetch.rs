//! Where an issuer's JWK set is read: the one place of the broker that contacts an issuer.
//!
//! Every address is the operator's, or comes from the discovery document of the operator's address.
//! Nothing in a token chooses one. No redirects, no proxies of the environment, little time, few bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::{Host, Url};

use crate::identity::error::AuthenticatorError;
use crate::identity::jwks::BadJwks;
use crate::identity::settings::{IssuerSettings, KeySource};

/// For discovery and the set together.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The greatest document that is read, bytes.
const MAX_DOCUMENT: usize = 512 * 1024;

/// Why no JWK set was had. Prints no more than what the operator configured and hallpass found.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer: {0}")]
    Unreachable(#[source] reqwest::Error),
    #[error("{0}")]
    File(#[source] std::io::Error),
    #[error("no complete answer within 5 s")]
    Timeout,
    #[error("answered with status {0}, not 200; redirects are not followed")]
    Status(u16),
    #[error("the document is over 512 KiB")]
    TooLarge,
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    BadDiscovery,
    #[error("the discovery document is of another issuer than the configured url")]
    OtherIssuer,
    #[error("jwks_uri must be https, or http on a loopback host where the issuer's url is that too")]
    InsecureJwksUri,
    #[error(transparent)]
    BadJwks(#[from] BadJwks),
}

/// How to come by the set.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url { client: reqwest::Client, url: Url },
    Discovery { client: reqwest::Client, url: Url, issuer: String },
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: Url,
}

impl Source {
    /// Reads the certificates of `ca_file`; contacts nobody.
    pub(super) fn new(settings: &IssuerSettings) -> Result<Self, AuthenticatorError> {
        let url = match &settings.keys {
            KeySource::File(path) => return Ok(Self::File(path.clone())),
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery => discovery_url(&settings.url).ok_or_else(|| insecure(settings))?,
        };
        if !is_secure(&url) {
            return Err(insecure(settings));
        }
        let client = client(settings, url.scheme() == "https")?;
        Ok(match settings.keys {
            KeySource::Discovery => Self::Discovery { client, url, issuer: settings.url.clone() },
            _ => Self::Url { client, url },
        })
    }

    /// The bytes of the set. The one bound of time on it all is here: the client has none but for connecting.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let read = async {
            match self {
                Self::File(path) => read_file(path).await,
                Self::Url { client, url } => get(client, url).await,
                Self::Discovery { client, url, issuer } => {
                    let jwks_uri = discover(client, url, issuer).await?;
                    get(client, &jwks_uri).await
                }
            }
        };
        tokio::time::timeout(TOTAL_TIMEOUT, read).await.map_err(|_| FetchError::Timeout)?
    }
}

/// OpenID Connect Discovery 1.0 §4.3: the document must be of the very issuer that was asked.
async fn discover(client: &reqwest::Client, url: &Url, issuer: &str) -> Result<Url, FetchError> {
    let document = get(client, url).await?;
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

async fn get(client: &reqwest::Client, url: &Url) -> Result<Vec<u8>, FetchError> {
    let unreachable = |error: reqwest::Error| FetchError::Unreachable(error.without_url());
    let request = client.get(url.clone()).header(reqwest::header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(unreachable)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if document.len() + chunk.len() > MAX_DOCUMENT {
            return Err(FetchError::TooLarge);
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

async fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path).await.map_err(FetchError::File)?;
    let mut document = Vec::new();
    file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut document).await.map_err(FetchError::File)?;
    if document.len() > MAX_DOCUMENT {
        return Err(FetchError::TooLarge);
    }
    Ok(document)
}

fn discovery_url(issuer: &str) -> Option<Url> {
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()
}

/// https, or http to this host (DESIGN §15).
fn is_secure(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

fn insecure(settings: &IssuerSettings) -> AuthenticatorError {
    AuthenticatorError::InsecureUrl { issuer: settings.name.clone() }
}

/// A client for this issuer alone, so that one's `ca_file` vouches for no other.
#[expect(clippy::disallowed_methods, reason = "this is the client that contacts configured issuers")]
fn client(settings: &IssuerSettings, https: bool) -> Result<reqwest::Client, AuthenticatorError> {
    let failed = |problem: String| AuthenticatorError::Client { issuer: settings.name.clone(), problem };
    let mut builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        // A fetch every ten minutes is not worth a connection kept open.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")));
    if https {
        if CryptoProvider::get_default().is_none() {
            return Err(failed("no TLS provider is installed in this process".to_owned()));
        }
        builder = builder.https_only(true).tls_certs_merge(extra_roots(settings)?);
    } else {
        builder = builder.tls_backend_preconfigured(no_roots().map_err(|error| failed(error.to_string()))?);
    }
    // Its own text is «builder error»; the reason is beneath.
    builder.build().map_err(|error| {
        failed(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
    })
}

fn extra_roots(settings: &IssuerSettings) -> Result<Vec<reqwest::Certificate>, AuthenticatorError> {
    let Some(path) = &settings.ca_file else { return Ok(Vec::new()) };
    let issuer = || settings.name.clone();
    let pem = std::fs::read(path).map_err(|source| AuthenticatorError::Unreadable {
        issuer: issuer(),
        path: path.clone(),
        source,
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(AuthenticatorError::BadCertificates { issuer: issuer(), path: path.clone() }),
    }
}

/// For plain http on loopback: trusts nobody, and does not load the system's roots, which takes
/// longer than the rest of the start.
fn no_roots() -> Result<ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_are_secure() {
        for url in ["https://a.test/x", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost:8/"] {
            assert!(is_secure(&Url::parse(url).unwrap()), "{url}");
        }
        for url in [
            "http://a.test",
            "http://169.254.169.254/",
            "http://localhost.a.test/",
            "http://127.0.0.1.a.test/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "file:///etc/passwd",
        ] {
            assert!(!is_secure(&Url::parse(url).unwrap()), "{url}");
        }
    }

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
