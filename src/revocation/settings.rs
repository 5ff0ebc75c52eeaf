//! `[revocation]`, after `config` has checked it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::client_certificate::ClientFiles;
pub use crate::revocation::address::{Address, RedisUrl, Servers, UrlError};

#[derive(Debug, Clone)]
pub struct RevocationSettings {
    pub backend: Backend,
    /// An enforcement point with an older view refuses.
    pub max_staleness: Duration,
}

#[derive(Debug, Clone)]
pub enum Backend {
    /// `memory:`: one broker, whose store is the only memory.
    Memory,
    Redis(Box<RedisSettings>),
}

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    pub url: RedisUrl,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// The roots to trust for TLS instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// What is shown, over TLS, to a server that asks for a certificate.
    pub client: Option<ClientFiles>,
    pub sentinel: SentinelSettings,
}

/// How sentinels are reached, where the URL names some.
#[derive(Debug, Clone)]
pub struct SentinelSettings {
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// With the roots and the certificate of Redis.
    pub tls: bool,
}

impl RedisSettings {
    /// Without credentials and certificates.
    pub fn new(url: RedisUrl) -> Self {
        let sentinel = SentinelSettings { username: None, password: None, tls: url.tls };
        Self { url, username: None, password: None, ca_file: None, client: None, sentinel }
    }
}
