//! Why there is no answer.

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
    /// Of a request that was sent, or was to be.
    pub(super) fn of_request(error: &reqwest::Error) -> Self {
        let cause = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(error) };
        match error.is_connect() {
            true => Self::Unreachable { cause, tls: chain(error).any(is_tls) },
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

/// Whether it is TLS that failed, which hides within I/O errors that do not name it as their source.
fn is_tls(cause: Cause<'_>) -> bool {
    let hidden = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is::<rustls::Error>() || hidden.is_some_and(|hidden| is_tls(hidden))
}
