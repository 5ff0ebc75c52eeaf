//! An X.509-SVID of this workload: a client certificate that is shown to the broker in TLS, and to which the token
//! is bound (RFC 8705 §3).

use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use crate::cli::key_file::{self, Readers};
use crate::cli::{Failure, Host, Outcome};
use crate::domain::pem;
use crate::outbound::Identity;

/// A certificate chain, the leaf first, and the leaf's key.
pub struct Certificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// # Errors
    /// When a file cannot be read, or holds no certificate or no key in PEM.
    pub fn read(chain: &Path, key: &Path, host: &mut Host<'_>) -> Outcome<Self> {
        let text = key_file::read(chain, Readers::Anyone, host)?;
        let found = pem::certificates(text.expose_secret().as_bytes()).map_err(|error| {
            Failure::failed(format!("{} {error}", chain.display())).remedy(
                "give the X.509-SVID and its intermediates, the SVID first, as spiffe-helper writes them",
            )
        })?;
        let text = key_file::read(key, Readers::Owner, host)?;
        let key = pem::private_key(text.expose_secret().as_bytes()).map_err(|error| {
            Failure::failed(format!("{} {error}", key.display()))
                .remedy("give the key of the X.509-SVID, unencrypted: PKCS#8, SEC 1 or PKCS#1")
        })?;
        Ok(Self { chain: found, key })
    }

    /// As the client of HTTP takes it.
    ///
    /// # Errors
    /// When the key is of a form that TLS does not know.
    pub fn identity(&self) -> Outcome<Identity> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let mut text = pem::section(label, self.key.secret_der());
        for certificate in &self.chain {
            text.push_str(&pem::section("CERTIFICATE", certificate));
        }
        // Without its words, which may repeat the text.
        Identity::from_pem(text.as_bytes())
            .map_err(|_| Failure::failed("the X.509-SVID or its key is of no use to TLS"))
    }
}
