//! An X.509-SVID of this workload: a client certificate that is shown to the broker in TLS, and to which the token
//! is bound (RFC 8705 §3).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::cli::key_file::{self, Readers};
use crate::cli::{Failure, Host, Outcome};
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
        let found: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
        let found = found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
            Failure::failed(format!("{} holds no certificate in PEM", chain.display())).remedy(
                "give the X.509-SVID and its intermediates, the SVID first, as spiffe-helper writes them",
            )
        })?;
        let text = key_file::read(key, Readers::Owner, host)?;
        let key = PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes()).map_err(|_| {
            Failure::failed(format!("{} holds no private key in PEM", key.display()))
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
        let mut pem = pem(label, self.key.secret_der());
        for certificate in &self.chain {
            pem.push_str(&self::pem("CERTIFICATE", certificate));
        }
        Identity::from_pem(pem.as_bytes())
            .map_err(|error| Failure::failed(format!("the X.509-SVID is of no use to TLS: {error}")))
    }
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", *body))
}
