//! Whose certificates a client believes.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::Error;
use super::pinned::Pinned;
use crate::domain::pem::{self, PemError};

/// Whom a client believes to be who they say.
#[derive(Debug, Default)]
pub enum Roots {
    /// Whom the system trusts.
    #[default]
    System,
    /// The issuers of these certificates too.
    And(Vec<reqwest::Certificate>),
    /// Nobody: the client asks over plain http on this machine alone. It does not load the system's roots, which
    /// takes longer than the rest of a start.
    Nobody,
    /// Whoever holds the private key of this certificate, and nobody else.
    Exactly(CertificateDer<'static>),
    /// Whoever this says.
    By(Arc<dyn ServerCertVerifier>),
}

impl Roots {
    /// The system's, and those of a PEM bundle.
    ///
    /// # Errors
    /// When `pem` holds no certificate.
    pub fn and_pem(pem: &[u8]) -> Result<Self, Error> {
        let read = pem::certificates(pem).map_err(Error::NoCertificates)?;
        let roots: Result<Vec<_>, _> = read.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
        roots.map(Self::And).map_err(|_| Error::NoCertificates(PemError::NoCertificate))
    }

    /// Whoever holds the key of the first certificate of a PEM bundle.
    ///
    /// # Errors
    /// When `pem` holds no certificate.
    pub fn exactly(pem: &[u8]) -> Result<Self, Error> {
        let mut read = pem::certificates(pem).map_err(Error::NoCertificates)?;
        Ok(Self::Exactly(read.swap_remove(0)))
    }

    pub(super) fn apply(self, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, Error> {
        let more = match self {
            Self::Nobody => return Ok(builder.tls_backend_preconfigured(no_roots()?)),
            Self::Exactly(certificate) => {
                let mut config = no_roots()?;
                let verifier = Pinned::new(certificate, Arc::clone(config.crypto_provider()));
                config.dangerous().set_certificate_verifier(verifier);
                return Ok(builder.tls_backend_preconfigured(config));
            }
            Self::By(verifier) => {
                let mut config = no_roots()?;
                config.dangerous().set_certificate_verifier(verifier);
                return Ok(builder.tls_backend_preconfigured(config));
            }
            Self::System => Vec::new(),
            Self::And(more) => more,
        };
        if CryptoProvider::get_default().is_none() {
            return Err(Error::SetUp("no TLS provider is installed in this process".to_owned()));
        }
        Ok(builder.tls_certs_merge(more))
    }
}

fn no_roots() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::SetUp(error.to_string()))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
