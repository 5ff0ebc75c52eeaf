//! Why there is no answer.

use rustls::{CertificateError, InvalidMessage};

use super::bundles;
use crate::domain::pem::PemError;

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// Why there is no whole answer, or no client to ask with. Prints what lies at the bottom («Connection refused»),
/// and no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the address must be https, or http on a loopback host; nothing was sent")]
    Insecure,
    /// Nothing was sent. `tls` says that somebody is there, and whom TLS does not believe.
    #[error("{cause}")]
    Unreachable { cause: String, tls: bool },
    /// The certificate that was shown is no server's, whoever signed it. Nothing was sent.
    #[error("{0}")]
    NoServerCertificate(String),
    /// What was asked over https does not speak TLS. Nothing was sent but the greeting.
    #[error("{0}: it does not speak TLS on this port")]
    NotTls(String),
    /// What was asked over plain http does not speak it.
    #[error("{0}: it does not speak plain http on this port")]
    NotHttp(String),
    /// Nothing was sent.
    #[error("https cannot be spoken: {0}")]
    TrustsNobody(String),
    /// Whether the request took effect is not known.
    #[error("{0}")]
    BrokenOff(String),
    #[error("the answer is over {}", Bytes(*.0))]
    TooLarge(usize),
    #[error("the file {0}")]
    NoCertificates(PemError),
    #[error("{0}")]
    SetUp(String),
}

/// A bound as people say it.
struct Bytes(usize);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            whole if whole % (1 << 20) == 0 => write!(f, "{} MiB", whole >> 20),
            bytes => write!(f, "{} KiB", bytes >> 10),
        }
    }
}

impl Error {
    /// Of a request that was sent, or was to be; by this proxy, if by one.
    pub(super) fn of_request(error: &reqwest::Error, proxy: Option<&str>) -> Self {
        let refused = chain(error).find_map(refused_certificate);
        let unfit = refused.and_then(why_unfit);
        let cause = match (refused, unfit) {
            _ if error.is_timeout() => "no answer in time".to_owned(),
            (_, Some(unfit)) => unfit.to_owned(),
            // A new CA can have the name of the old one.
            (Some(CertificateError::UnknownIssuer | CertificateError::BadSignature), _) => {
                let unusable = bundles::unusable();
                std::iter::once(root_cause(error)).chain(unusable).collect::<Vec<_>>().join("; ")
            }
            _ => root_cause(error),
        };
        let cause = match proxy {
            Some(proxy) => format!("by the proxy {proxy}: {cause}"),
            None => cause,
        };
        let https = error.url().is_some_and(|url| url.scheme() == "https");
        match error.is_connect() {
            true if https && proxy.is_none() && chain(error).any(is_no_tls) => Self::NotTls(cause),
            true if unfit.is_some() => Self::NoServerCertificate(cause),
            true => Self::Unreachable { cause, tls: chain(error).any(is_tls) },
            false if !https && chain(error).any(is_no_http) => Self::NotHttp(cause),
            false => Self::BrokenOff(cause),
        }
    }

    pub(super) fn of_set_up(error: &reqwest::Error) -> Self {
        Self::SetUp(root_cause(error))
    }
}

fn chain(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(Some(error), |error| error.source())
}

fn root_cause(error: Cause<'_>) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// Whether the other side answered the greeting of TLS with something else, or hung up at once.
fn is_no_tls(cause: Cause<'_>) -> bool {
    let Some(error) = cause.downcast_ref::<std::io::Error>() else {
        return matches!(
            cause.downcast_ref::<rustls::Error>(),
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
        );
    };
    let closed = error.kind() == std::io::ErrorKind::UnexpectedEof;
    closed || error.get_ref().is_some_and(|hidden| is_no_tls(hidden))
}

/// Whether the answer is no HTTP, as an alert of TLS is none.
fn is_no_http(cause: Cause<'_>) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

/// What TLS has against the certificate that was shown, where it is that.
fn refused_certificate(cause: Cause<'_>) -> Option<&CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(refused)) = cause.downcast_ref::<rustls::Error>() {
        return Some(refused);
    }
    refused_certificate(cause.downcast_ref::<std::io::Error>()?.get_ref()?)
}

/// In words, where the certificate itself is not made for a server. rustls has its verifier's name for that alone.
fn why_unfit(refused: &CertificateError) -> Option<&'static str> {
    const OTHER_USES: &str =
        "its certificate is made for other uses than a server's (extended key usage without serverAuth)";
    match refused {
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Some(OTHER_USES),
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                Some("its certificate is that of a certificate authority (CA:TRUE), and no server's")
            }
            // The system's verifier calls it so.
            "certificate had invalid extensions" => Some(OTHER_USES),
            "UnsupportedCertVersion" => Some("its certificate is of a version of X.509 before 3"),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is TLS that failed, which hides within I/O errors that do not name it as their source.
fn is_tls(cause: Cause<'_>) -> bool {
    let hidden = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is::<rustls::Error>() || hidden.is_some_and(|hidden| is_tls(hidden))
}
