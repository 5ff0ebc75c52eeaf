//! Assertions signed by a key that an agent is registered with: of a client (RFC 7523 §2.2), or as a grant (§2.1).

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
use crate::identity::settings::{OurNames, ProofAlgorithm};

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
    /// one whose key did not sign, and after as much work: of `most_keys` keys, the most that any agent has.
    /// So which names are registered is not to be found out here. What is wrong with the claims is judged, and told,
    /// once a registered key is known to have signed.
    pub(super) fn verify(
        &self,
        keys: &[&PublicKey],
        most_keys: usize,
        us: &OurNames,
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
            if signer.is_none() {
                try_nobodys_key(most_keys.saturating_sub(fit.len()), algorithm, message, signature);
            }
            signer.is_some()
        })?;
        let (registered, _) = signer.expect("verified() gives claims only if the closure found a signer");
        // Whoever made the signature is registered, and may read what is wrong with the claims.
        let (dates, jti) = accept_assertion(claims, us, now).map_err(ProofError::of_registered)?;
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

/// Does the work of verifying by so many keys, and forgets what came of it.
fn try_nobodys_key(times: usize, algorithm: ProofAlgorithm, message: &[u8], signature: &[u8]) {
    let Some(key) = VerificationKey::nobodys(algorithm) else { return };
    for _ in 0..times {
        std::hint::black_box(key.verifies(algorithm, message, signature));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "test keys need no seed of ours")]
    fn random() -> ring::rand::SystemRandom {
        ring::rand::SystemRandom::new()
    }

    fn p256() -> PublicKey {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random());
        let pair = pair.unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        PublicKey { kty: "EC".into(), crv: "P-256".into(), x: text(x), y: Some(text(y)) }
    }

    fn ed25519() -> PublicKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        PublicKey { kty: "OKP".into(), crv: "Ed25519".into(), x, y: None }
    }

    /// An assertion with a signature that could be one, by nobody.
    fn forged(alg: &str) -> String {
        let header = json!({"alg": alg, "typ": "JWT"});
        let claims = json!({"iss": "worker", "sub": "worker"});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let mut signature = [0x11; 64];
        signature[63] = 0x01;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The least time that a refusal takes with each of these keys. By turns, because a machine that others use is now
    /// fast and now slow.
    fn refusals(text: &str, registered: &[Vec<&PublicKey>]) -> Vec<Duration> {
        let assertion = UnverifiedAssertion::parse(text).unwrap();
        let us = OurNames {
            issuer: "https://hallpass.test".parse().unwrap(),
            token_endpoint: "https://hallpass.test/oauth/token".to_owned(),
            issuer_alone: false,
        };
        let mut least = vec![Duration::MAX; registered.len()];
        for _ in 0..61 {
            for (keys, least) in registered.iter().zip(&mut least) {
                let begun = Instant::now();
                let refused = assertion.verify(keys, 2, &us, Timestamp::from_seconds(0));
                *least = begun.elapsed().min(*least);
                assert_eq!(refused.unwrap_err().reason, Reason::SignatureInvalid);
            }
        }
        least
    }

    #[test]
    fn a_refusal_takes_as_long_whoever_is_registered() {
        let (one, two, other) = (p256(), p256(), ed25519());
        for (alg, fits, other) in [("ES256", vec![&one, &two], &other), ("EdDSA", vec![&other], &one)] {
            let others = [vec![], vec![other], vec![fits[0]], vec![fits[0], other]];
            let all: Vec<_> = std::iter::once(fits).chain(others).collect();
            let took = refusals(&forged(alg), &all);
            for (keys, took_one) in all.iter().zip(&took) {
                let ratio = took_one.as_secs_f64() / took[0].as_secs_f64();
                assert!((0.6..1.6).contains(&ratio), "{alg}: {took_one:?} and {:?} for {keys:?}", took[0]);
            }
        }
    }
}
