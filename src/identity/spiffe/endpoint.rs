//! The bundle endpoint of a trust domain in the profile `https_spiffe` (SPIFFE Federation §5.2.2): it is known by its
//! X.509-SVID, and by no authority of the web.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::KeyUsage;

use super::certificate::UnverifiedSvid;
use crate::domain::spiffe::SpiffeId;
use crate::domain::time::Timestamp;

/// Believes the workload `id` alone, if one of `anchors` vouches for its SVID.
pub(super) fn verifier(id: SpiffeId, anchors: Vec<TrustAnchor<'static>>) -> Arc<dyn ServerCertVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Arc::new(Endpoint { id, anchors, provider })
}

#[derive(Debug)]
struct Endpoint {
    id: SpiffeId,
    anchors: Vec<TrustAnchor<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Endpoint {
    /// The host's name says nothing here.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<CertificateDer<'static>> =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let now = Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let refused = |text: String| Error::General(text);
        let svid = UnverifiedSvid::of(&chain).map_err(|error| refused(error.detail.into_owned()))?;
        if *svid.id() != self.id {
            return Err(refused(format!("the bundle endpoint is {} and not {}", svid.id(), self.id)));
        }
        let verified = svid.verified_for(KeyUsage::server_auth(), &self.anchors, now);
        verified.map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
