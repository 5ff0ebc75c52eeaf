//! What a caller proved to be.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::domain::id::IssuerName;
use crate::domain::time::Timestamp;

/// A workload identity whose proof has been checked. Only `identity` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// The configured name of whoever vouched: an OIDC issuer, or `key` for a registered key.
    pub issuer: IssuerName,
    /// The proof's `sub`; for a registered key, the thumbprint of the key.
    pub subject: String,
    /// The proof's string claims, `sub` and `iss` among them. Claim rules see nothing else.
    pub claims: BTreeMap<String, String>,
    /// When the proof stops being one.
    pub expires: Timestamp,
}

impl VerifiedIdentity {
    /// As it stands in tokens and events.
    pub fn workload(&self) -> Workload {
        Workload(format!("{}|{}", self.issuer, self.subject))
    }
}

/// `issuer|subject`, the short form of a verified identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Workload(pub String);

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
