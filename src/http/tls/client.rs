//! What a client's certificate is worth at this layer: proof that it holds the key, and no trust at all.

use std::sync::Arc;

use crate::domain::confirmation::Thumbprint;
use crate::domain::digest::Digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConnection, SignatureScheme,
};

/// Longer than any chain in use.
const MAX_CHAIN: usize = 10;

/// The certificates that the client of this connection sent, its own first; in each request's extensions, and
/// missing where it sent none. A trusted proxy may have been shown them instead (`server.client_certificate_header`).
///
/// # Danger
/// The client has shown that it holds the private key of the first certificate, and **nothing else is known**.
/// Unless the listener has `client_ca_files`, any key pair with any text in its certificate comes this far:
/// self-signed, expired, of any issuer, in anybody's name. Whoever reads a name in it must first verify the
/// path to a root that may vouch for that name, and every validity, at the time of the request.
#[derive(Debug, Clone)]
pub struct ClientChain(pub Arc<[CertificateDer<'static>]>);

impl ClientChain {
    pub(super) fn of(connection: &ServerConnection) -> Option<Self> {
        let chain = connection.peer_certificates().filter(|chain| !chain.is_empty())?;
        Some(Self(chain.into()))
    }

    /// Of the client's own certificate (RFC 8705 §3.1), whose key it has shown to hold.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.first().map(|own| Thumbprint(Digest::of(own)))
    }
}

/// Asks for a client certificate, takes any, and verifies the one thing that only the handshake can show:
/// that its signature is by the certificate's key.
///
/// # Danger
/// This authenticates nobody. A listener with it must give no right for a [`ClientChain`] that was not
/// verified afterwards.
#[derive(Debug)]
pub(super) struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: those who may vouch are not known here, and clients choose among their certificates by them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
