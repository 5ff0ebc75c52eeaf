//! The certificate that hallpass shows as a client of Redis or PostgreSQL.

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::domain::pem;

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
