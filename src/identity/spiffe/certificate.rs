//! X.509-SVIDs (SPIFFE X509-SVID standard): which certificates are one, and whose. Pure.

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::domain::digest::Digest;
use crate::domain::reason::Reason;
use crate::domain::spiffe::SpiffeId;
use crate::domain::time::Timestamp;
use crate::identity::error::ProofError;

/// The signatures that a chain may have: no SHA-1, and RSA of 2048 bits or more.
const SIGNATURES: &[&dyn rustls::pki_types::SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
    webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A leaf certificate that has the form of an X.509-SVID. Nobody has vouched for it yet.
#[derive(Debug)]
pub(super) struct UnverifiedSvid<'a> {
    chain: &'a [CertificateDer<'static>],
    id: SpiffeId,
    expires: Timestamp,
}

/// A certificate that its trust domain vouches for.
#[derive(Debug)]
pub(super) struct Svid {
    pub(super) id: SpiffeId,
    /// The first instant at which the certificate is no longer good.
    pub(super) expires: Timestamp,
    /// Of the whole certificate in DER (RFC 8705 §3.1).
    pub(super) sha256: Digest,
}

fn not_an_svid(detail: &'static str) -> ProofError {
    ProofError::malformed(detail)
}

impl<'a> UnverifiedSvid<'a> {
    /// Holds the leaf of `chain`, its first certificate, to the form of X509-SVID §2 and §4.
    pub(super) fn of(chain: &'a [CertificateDer<'static>]) -> Result<Self, ProofError> {
        let leaf = chain.first().ok_or_else(|| not_an_svid("there is no client certificate"))?;
        let leaf = parse(leaf).ok_or_else(|| not_an_svid("the client certificate is not one of X.509"))?;
        let names = uri_names(&leaf).unwrap_or_default();
        let [name] = names.as_slice() else {
            return Err(not_an_svid("an X.509-SVID has exactly one URI among its names"));
        };
        let id: SpiffeId =
            name.parse().map_err(|_| not_an_svid("the URI of the certificate is not a SPIFFE ID"))?;
        if id.path().is_empty() {
            return Err(not_an_svid("the SPIFFE ID of a workload has a path"));
        }
        check_leaf(&leaf)?;
        let expires = Timestamp::from_seconds(leaf.validity().not_after.timestamp().saturating_add(1));
        Ok(Self { chain, id, expires })
    }

    pub(super) fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(super) fn trust_domain(&self) -> &str {
        self.id.trust_domain()
    }

    /// Verifies a client's path to one of `anchors`, and every validity on it at `now`.
    pub(super) fn verified_by(
        &self,
        anchors: &[TrustAnchor<'_>],
        now: Timestamp,
    ) -> Result<Svid, ProofError> {
        self.verified_for(KeyUsage::client_auth(), anchors, now)
    }

    /// The same for another use of its key.
    pub(super) fn verified_for(
        &self,
        usage: KeyUsage,
        anchors: &[TrustAnchor<'_>],
        now: Timestamp,
    ) -> Result<Svid, ProofError> {
        let [leaf, intermediates @ ..] = self.chain else {
            return Err(not_an_svid("there is no client certificate"));
        };
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let on_path = |path: &VerifiedPath<'_>| {
            let good = path.intermediate_certificates().all(|authority| {
                parse(&authority.der()).is_some_and(|ca| may_sign_for(&ca, self.trust_domain()))
            });
            if good { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
        };
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| refused(&error))?;
        end_entity
            .verify_for_usage(SIGNATURES, anchors, intermediates, time, usage, None, Some(&on_path))
            .map_err(|error| refused(&error))?;
        Ok(Svid { id: self.id.clone(), expires: self.expires, sha256: Digest::of(leaf) })
    }
}

fn refused(error: &webpki::Error) -> ProofError {
    match error {
        webpki::Error::CertExpired { .. } => {
            ProofError::new(Reason::Expired, "a certificate of the chain has expired")
        }
        webpki::Error::CertNotValidYet { .. } => {
            ProofError::new(Reason::NotYetValid, "a certificate of the chain is not valid yet")
        }
        _ => ProofError::new(
            Reason::SignatureInvalid,
            "the trust domain's bundle does not vouch for the client certificate",
        ),
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// Every URI among the names of a certificate; `None` where its names cannot be read.
pub(super) fn uri_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let Some(names) = certificate.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Some(uris.collect())
}

/// X509-SVID §4.1 and §4.3; webpki looks at the extended usage.
fn check_leaf(leaf: &X509Certificate<'_>) -> Result<(), ProofError> {
    let readable = |_| not_an_svid("an extension of the certificate cannot be read, or is there twice");
    if leaf.basic_constraints().map_err(readable)?.is_some_and(|basic| basic.value.ca) {
        return Err(not_an_svid("the certificate is that of an authority"));
    }
    let usage = leaf.key_usage().map_err(readable)?;
    let usage = usage.ok_or_else(|| not_an_svid("the certificate has no key usage"))?.value;
    if !usage.digital_signature() {
        return Err(not_an_svid("the key usage lacks digitalSignature"));
    }
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(not_an_svid("the key usage is that of an authority"));
    }
    Ok(())
}

/// Whether a certificate on the way may sign: an authority by its key usage, of no other trust domain, and
/// not itself a workload's (X509-SVID §3.2, §4.2).
fn may_sign_for(authority: &X509Certificate<'_>, domain: &str) -> bool {
    let signs = authority.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
    let own = uri_names(authority).is_some_and(|names| {
        let of_domain = |name: &String| {
            name.parse::<SpiffeId>().is_ok_and(|id| id.trust_domain() == domain && id.path().is_empty())
        };
        names.len() <= 1 && names.iter().all(of_domain)
    });
    signs && own
}
