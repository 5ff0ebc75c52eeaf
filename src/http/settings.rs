//! `[server]`, `[admin]` and `[[resource_server]]`, after `config` has checked them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::id::OperatorName;
use crate::domain::permission::Origin;
use crate::http::proxies::Proxies;

#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// The issuer of every token.
    pub public_url: Origin,
    /// `None` where a proxy ends TLS.
    pub tls: Option<TlsSettings>,
    pub proxies: Proxies,
}

#[derive(Debug, Clone)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    pub operators: Vec<Operator>,
    /// The key of the operator `local`, who has every role; made (0600) at the first start.
    pub local_key_file: Option<PathBuf>,
    pub tls: Option<TlsSettings>,
}

/// How much of the machine the callers of one listener may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections; more wait in the backlog.
    pub connections: usize,
    /// Open connections of one source address.
    pub per_source: usize,
    /// Bytes that connections and unfinished requests hold.
    pub memory: usize,
}

/// The part of `[limits]` that bounds what public callers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicLimits {
    /// None: as many as there are file descriptors for.
    pub connections: Option<NonZeroU32>,
    /// None: as many as there are at all.
    pub per_source: Option<NonZeroU32>,
    /// Bytes.
    pub memory: usize,
    /// A connection of either listener that waits for its next request is closed after this time.
    pub idle: Duration,
}

/// The PEM files that a listener serves TLS with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, and after it those that lead to its root.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub clients: ClientCertificates,
    /// The host by which clients call this listener, where that is known: the certificate should be for it.
    pub called: Option<String>,
}

/// Which certificates a listener takes from its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    NotAsked,
    /// Any or none, trusted for nothing: see [`crate::http::tls::ClientChain`].
    Any,
    /// A client without a certificate that these files' roots vouch for cannot connect.
    SignedBy(Vec<PathBuf>),
}

impl ClientCertificates {
    pub fn ca_files(&self) -> &[PathBuf] {
        match self {
            Self::SignedBy(files) => files,
            Self::NotAsked | Self::Any => &[],
        }
    }
}

/// A person or system with roles on the admin listener, known by the hash of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub name: OperatorName,
    pub roles: BTreeSet<Role>,
    pub key: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Admin,
    Approver,
    Auditor,
}

/// Who may introspect tokens whose `aud` holds one of its origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    pub name: OperatorName,
    pub origins: BTreeSet<Origin>,
    pub key: Digest,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
        }
    }
}
