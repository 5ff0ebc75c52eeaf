//! `[revocation]`, after `config` has checked it.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::SecretString;

use crate::domain::pem;

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

/// A client certificate and its private key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The certificates and the key that TLS shows, read from their PEM.
///
/// # Errors
/// Why TLS could not show them, without a word of either.
pub fn client_pair(
    cert: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = pem::certificates(cert).map_err(|error| format!("the client certificate {error}"))?;
    let key = pem::private_key(key).map_err(|error| format!("the client certificate's key {error}"))?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
        Ok(_) => Ok((chain, key)),
        Err(_) => {
            Err("the key is not the client certificate's, or of a kind that TLS here does not have"
                .to_owned())
        }
    }
}
