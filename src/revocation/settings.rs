//! `[revocation]`, after `config` has checked it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::client_certificate::ClientFiles;

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
    Redis {
        /// `redis://` or `rediss://`, without credentials.
        url: url::Url,
        username: Option<String>,
        password: Option<SecretString>,
        /// The roots to trust for `rediss://` instead of the system's, PEM.
        ca_file: Option<PathBuf>,
        /// What is shown to a Redis that asks for a certificate, with `rediss://`.
        client: Option<ClientFiles>,
    },
}
