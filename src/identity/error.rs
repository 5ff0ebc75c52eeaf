//! How a proof, or the set-up of whoever checks it, fails.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::id::IssuerName;
use crate::domain::pem::PemError;
use crate::domain::reason::Reason;

/// A proof that was not accepted. `detail` is hallpass's own text: nothing of the proof is repeated in it,
/// so it may be logged, journaled and answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .reason.as_str())]
pub struct ProofError {
    pub reason: Reason,
    pub detail: Cow<'static, str>,
    /// For the log alone: what of this side failed, where the proof is not at fault. It may name addresses.
    pub cause: Option<Arc<str>>,
    /// Whether the sender has proven to hold a registered key. Only then may it read `detail` (law 8).
    pub of_registered: bool,
}

impl ProofError {
    pub(super) fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), cause: None, of_registered: false }
    }

    /// The keys that would verify the proof cannot be had.
    pub(super) fn no_keys(detail: &'static str, NoKeys(cause): NoKeys) -> Self {
        Self { cause: Some(cause), ..Self::new(Reason::IssuerUnavailable, detail) }
    }

    /// The same, of a sender that has proven to hold a registered key.
    pub(super) fn of_registered(self) -> Self {
        Self { of_registered: true, ..self }
    }

    pub(super) fn malformed(detail: &'static str) -> Self {
        Self::new(Reason::ProofMalformed, detail)
    }
}

/// Why an issuer has no keys to verify with: its name, and how the last fetch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoKeys(pub(super) Arc<str>);

/// What stops an [`Authenticator`](super::Authenticator) from being made.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticatorError {
    #[error("issuer {issuer}: {path}: {source}", path = path.display())]
    Unreadable {
        issuer: IssuerName,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("issuer {issuer}: {path}: {problem}", path = path.display())]
    BadJwks { issuer: IssuerName, path: PathBuf, problem: String },
    #[error("issuer {issuer}: {path} {problem}", path = path.display())]
    BadCertificates { issuer: IssuerName, path: PathBuf, problem: PemError },
    #[error("issuer {issuer}: its address must be https, or http on a loopback host")]
    InsecureUrl { issuer: IssuerName },
    #[error("issuer {issuer}: {other} has the same url and audience; a proof would be of both")]
    SharedUrl { issuer: IssuerName, other: IssuerName },
    #[error("two issuers are called {issuer}; the agents of one would be those of the other")]
    SharedName { issuer: IssuerName },
    #[error("no issuer may be called key: proofs by registered key are")]
    ReservedName,
    #[error("issuer {issuer}: the HTTPS client could not be set up: {problem}")]
    Client { issuer: IssuerName, problem: String },
}
