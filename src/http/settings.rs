//! `[server]`, `[admin]` and `[[resource_server]]`, after `config` has checked them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::id::OperatorName;
use crate::domain::permission::Origin;

#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// The issuer of every token, without a trailing slash.
    pub public_url: String,
}

#[derive(Debug, Clone)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    pub operators: Vec<Operator>,
    /// The key of the operator `local`, who has every role; made (0600) at the first start.
    pub local_key_file: Option<PathBuf>,
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
