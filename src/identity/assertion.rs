//! Client assertions (RFC 7523 §2.2) signed by a key that an agent is registered with.

use std::collections::BTreeMap;

use crate::domain::digest::Digest;
use crate::domain::id::{AgentId, IssuerName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::key::PublicKey;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::identity::claims::{ASSERTION_LEEWAY, accept_assertion};
use crate::identity::error::ProofError;
use crate::identity::jwks::VerificationKey;
use crate::identity::jws::Unverified;

/// A client assertion before its key is known: it says whose it claims to be, and no more.
#[derive(Debug)]
pub struct UnverifiedAssertion<'a> {
    agent: AgentId,
    jws: Unverified<'a>,
}

/// What makes a proof usable once (`jti`: RFC 7523 §3, RFC 9449 §11.1): whoever verified it must record `key`
/// until `until`, and refuse the proof if it was recorded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleUse {
    /// SHA-256 of who made the proof and its `jti`: of the agent's id, a zero byte and `jti` for a client
    /// assertion. No two kinds of proof share a key.
    pub key: Digest,
    /// When the proof is dead anyhow: for an assertion, `exp` and the leeway it is given.
    pub until: Timestamp,
}

impl<'a> UnverifiedAssertion<'a> {
    /// Reads the form. `iss` and `sub` must both be the agent's id.
    pub fn parse(text: &'a str) -> Result<Self, ProofError> {
        let jws = Unverified::parse(text)?;
        let (issuer, subject) = (jws.unverified_name("iss")?, jws.unverified_name("sub")?);
        let agent = if issuer == subject { issuer.parse().ok() } else { None };
        let agent = agent.ok_or_else(|| {
            ProofError::new(
                Reason::ClaimInvalid,
                "iss and sub of a client assertion must both be the agent's id",
            )
        })?;
        Ok(Self { agent, jws })
    }

    /// Whose keys to verify it with. Not proven.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// An agent without a key for this `alg`, or without any because nobody registered it, is refused as
    /// one whose key did not sign: which names are registered is not to be found out here.
    pub(super) fn verify(
        &self,
        keys: &[&PublicKey],
        our_issuer: &str,
        now: Timestamp,
    ) -> Result<(VerifiedIdentity, SingleUse), ProofError> {
        let Self { agent, jws } = self;
        let algorithm = jws.header.algorithm;
        let fit: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((*key, VerificationKey::registered(key)?)))
            .filter(|(_, key)| key.fits(algorithm))
            .collect();
        let mut signer = None;
        let claims = jws.claims_if(|message, signature| {
            signer = fit.iter().find(|(_, key)| key.verifies(algorithm, message, signature));
            signer.is_some()
        })?;
        let (registered, _) = signer.expect("verified() gives claims only if the closure found a signer");
        let (dates, jti) = accept_assertion(claims, our_issuer, now)?;
        let subject = registered.thumbprint().to_string();
        let identity = VerifiedIdentity {
            issuer: IssuerName::key(),
            claims: BTreeMap::from([("sub".to_owned(), subject.clone())]),
            subject,
            expires: dates.expires,
        };
        let single_use = SingleUse {
            key: Digest::of_parts(&[agent.as_str().as_bytes(), &[0], jti.as_bytes()]),
            until: dates.expires + ASSERTION_LEEWAY,
        };
        Ok((identity, single_use))
    }
}
