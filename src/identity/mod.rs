//! Proof → [`VerifiedIdentity`], or nothing. The broker calls it before anything else.
//!
//! What it promises:
//!
//! - Only issuers named in the configuration are contacted. A token's `iss` picks one of them by
//!   comparison; no other part of a token, and nothing that a redirect says, chooses an address.
//! - A key verifies the tokens of the issuer that published it and no other's, whatever its `kid`.
//! - A signature by `none` or HMAC does not exist here; an issuer's tokens use the algorithms configured for it.
//! - Two readers of an accepted token read the same: one JSON reading, no repeated or case-varied
//!   members, one base64url text for each byte string.
//! - An error repeats nothing of what the caller sent.
//!
//! The path of a token: [`jws`] reads it, [`oidc`] chooses the issuer and asks [`keys`] (which
//! [`fetch`]es a [`jwks`]), and [`claims`] judges what the signature vouched for. [`assertion`] does
//! the same with registered keys, [`spiffe`] with the SVIDs of trust domains. [`dpop`] checks another kind of proof: not who calls, but which key it holds.

pub mod settings;

mod assertion;
mod claims;
mod dpop;
mod error;
mod fetch;
mod json;
mod jwks;
mod jws;
mod keys;
mod oidc;
mod spiffe;
mod workload_api;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::domain::id::IssuerName;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::key::PublicKey;
use crate::domain::reason::Reason;
use crate::domain::time::Clock;
use crate::identity::settings::{IssuerSettings, OurNames, TrustDomainSettings};
use crate::outbound::Way;

pub use assertion::{SingleUse, UnverifiedAssertion};
pub use dpop::{Dpop, Nonces};
pub use error::{AuthenticatorError, ProofError};
pub use keys::IssuerStatus;
pub use spiffe::ClientCertificate;

/// Whether a `jwks_file` holds keys to verify with.
///
/// # Errors
/// What is wrong with it.
pub fn check_jwks(document: &[u8]) -> Result<(), String> {
    check_document::<jwks::KeySet>(document)
}

/// Whether a `bundle_file` holds what vouches for SVIDs.
///
/// # Errors
/// What is wrong with it.
pub fn check_bundle(document: &[u8]) -> Result<(), String> {
    check_document::<spiffe::Bundle>(document)
}

fn check_document<D: keys::Document>(document: &[u8]) -> Result<(), String> {
    let read = D::parse(document).map_err(|error| error.to_string())?;
    if read.count() == 0 { Err(keys::NO_USABLE_KEY.to_owned()) } else { Ok(()) }
}

/// Checks proofs. Shared by every request.
#[derive(Debug)]
pub struct Authenticator {
    issuers: oidc::Issuers,
    trust_domains: spiffe::TrustDomains,
    us: OurNames,
    clock: Clock,
}

impl Authenticator {
    /// `us`: the audiences of SVIDs and client assertions. Reads the files that the settings name and contacts nobody. Where an issuer is https, rustls's default provider must be installed.
    pub fn new(
        issuers: Vec<IssuerSettings>,
        trust_domains: &[TrustDomainSettings],
        us: OurNames,
        clock: Clock,
    ) -> Result<Self, AuthenticatorError> {
        Self::asking_by(&Way::default(), issuers, trust_domains, us, clock)
    }

    /// The same, which asks issuers and trust domains by a proxy where `way` says so.
    ///
    /// # Errors
    /// As [`Authenticator::new`].
    pub fn asking_by(
        way: &Way,
        issuers: Vec<IssuerSettings>,
        trust_domains: &[TrustDomainSettings],
        us: OurNames,
        clock: Clock,
    ) -> Result<Self, AuthenticatorError> {
        let name = |name: &IssuerName| AuthenticatorError::SharedName { issuer: name.clone() };
        let mut names: BTreeSet<&IssuerName> = issuers.iter().map(|issuer| &issuer.name).collect();
        if let Some(twice) = trust_domains.iter().find(|domain| !names.insert(&domain.name)) {
            return Err(name(&twice.name));
        }
        if names.contains(&IssuerName::key()) {
            return Err(AuthenticatorError::ReservedName);
        }
        let trust_domains = spiffe::TrustDomains::new(trust_domains, way, clock.clone())?;
        let issuers = oidc::Issuers::new(issuers, way, clock.clone())?;
        Ok(Self { issuers, trust_domains, us, clock })
    }

    /// Goes on with the keys that `before` has of issuers and trust domains that are configured as they were, so that an
    /// outage of theirs is bridged across a change of the configuration too.
    pub fn go_on_from(&self, before: &Self) {
        self.issuers.go_on_from(&before.issuers);
        self.trust_domains.go_on_from(&before.trust_domains);
    }

    /// Verifies a JWT that somebody else signed: a `subject_token` (RFC 8693), or a JWT bearer `assertion`
    /// (RFC 7523 §2.1). It is an OIDC token of a configured issuer, or failing that a JWT-SVID of a configured
    /// trust domain. May wait some seconds for keys that are not at hand.
    pub async fn jwt(&self, token: &str) -> Result<Arc<VerifiedIdentity>, ProofError> {
        match self.issuers.authenticate(token).await {
            Err(error)
                if matches!(error.reason, Reason::IssuerUnknown | Reason::ClaimMissing)
                    && self.trust_domains.may_know(token, error.reason == Reason::ClaimMissing) =>
            {
                self.jwt_svid(token).await.map(Arc::new)
            }
            verified => verified,
        }
    }

    /// Verifies a JWT-SVID of a configured trust domain, for this broker alone.
    pub async fn jwt_svid(&self, token: &str) -> Result<VerifiedIdentity, ProofError> {
        self.trust_domains.jwt(token, self.us.issuer.as_str()).await
    }

    /// Verifies an X.509-SVID: the certificates of a client that has shown to hold the first one's key, the
    /// first first.
    pub async fn certificate(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> Result<(VerifiedIdentity, ClientCertificate), ProofError> {
        self.trust_domains.certificate(chain).await
    }

    /// Verifies a `client_assertion` (RFC 7523 §2.2) by the keys registered for the agent that it names.
    /// `most_keys`: the most of one kind that any agent is registered with. The caller sees to it that it is used once.
    pub fn assertion(
        &self,
        assertion: &UnverifiedAssertion<'_>,
        keys: &[&PublicKey],
        most_keys: usize,
    ) -> Result<(VerifiedIdentity, SingleUse), ProofError> {
        assertion.verify(keys, most_keys, &self.us, self.clock.now())
    }

    /// Asks, beside the calls, each issuer and trust domain that is due: who is dead is known before a proof comes, and
    /// who is back likewise. Waits for nobody.
    pub fn probe(&self) {
        self.issuers.probe();
        self.trust_domains.probe();
    }

    /// How each issuer's keys and each trust domain's bundle stand.
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.status().into_iter().chain(self.trust_domains.status()).collect()
    }
}
