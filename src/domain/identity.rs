//! What a caller proved to be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::domain::id::IssuerName;
use crate::domain::time::Timestamp;

/// A workload identity whose proof has been checked. Only `identity` makes one that a token is issued
/// for; a dry run supposes one ([`VerifiedIdentity::supposed`]), and so does a drill for its canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// The configured name of whoever vouched: an OIDC issuer, or `key` for a registered key.
    pub issuer: IssuerName,
    /// The proof's `sub`; for a registered key, the thumbprint of the key.
    pub subject: String,
    /// The proof's string claims, `sub` and `iss` among them, and of Kubernetes those that it nests
    /// ([`crate::domain::platform::KUBERNETES_CLAIMS`]). Claim rules see nothing else.
    pub claims: BTreeMap<String, String>,
    /// When the proof stops being one.
    pub expires: Timestamp,
}

impl VerifiedIdentity {
    /// What a proof with these string claims would be, were it good. For a dry run, and for the canary of a drill, which has
    /// no permission.
    pub fn supposed(issuer: IssuerName, claims: BTreeMap<String, String>, now: Timestamp) -> Self {
        let subject = claims.get("sub").cloned().unwrap_or_default();
        Self { issuer, subject, claims, expires: now }
    }

    /// As it stands in tokens and events.
    pub fn workload(&self) -> Workload {
        Workload(format!("{}|{}", self.issuer, self.subject).into())
    }
}

/// `issuer|subject`, the short form of a verified identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Workload(pub Arc<str>);

impl Workload {
    /// The issuer's configured name, the part before the first `|`.
    pub fn issuer(&self) -> Option<IssuerName> {
        self.0.split_once('|')?.0.parse().ok()
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
