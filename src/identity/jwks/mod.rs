//! JWK sets (RFC 7517) and the keys in them that may verify a proof.

mod jwk;
mod key;

use serde::Deserialize;

use crate::identity::settings::ProofAlgorithm;
use jwk::Jwk;
pub(super) use key::{Unusable, VerificationKey};

/// The most keys that one set may hold; the largest in the wild have about a dozen.
const MAX_KEYS: usize = 128;

/// Why a document is not a JWK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadJwks {
    #[error("not a JWK set: JSON with an array `keys`")]
    NotASet,
    #[error("more than 128 keys")]
    TooMany,
    #[error("no key in it can be used, so the bundle at hand stays")]
    NoKeys,
    #[error("its spiffe_sequence is lower than that of the bundle at hand")]
    Older,
}

/// The most of a `kid` that is kept for the log, in characters.
const SHOWN_KID: usize = 64;

/// The usable keys of an issuer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<VerificationKey>,
    left_out: Vec<LeftOut>,
}

/// A key that is published and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// As it was published, cut off where it is long.
    pub(super) kid: Option<String>,
    pub(super) why: Unusable,
}

impl LeftOut {
    pub(super) fn new(key: &serde_json::Value, why: Unusable) -> Self {
        let kid = key.get("kid").and_then(|kid| kid.as_str()).filter(|kid| !kid.is_empty());
        Self { kid: kid.map(|kid| kid.chars().take(SHOWN_KID).collect()), why }
    }
}

/// What a token's header finds in a set.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// One or more, as nothing keeps an issuer from giving two keys one `kid`.
    Keys(Vec<&'a VerificationKey>),
    /// The key that `kid` names is not for this algorithm.
    WrongAlgorithm,
    /// No key of that `kid`; perhaps a newer set has it.
    Unknown,
    /// The header has no `kid`, and several keys would fit.
    Ambiguous,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. A key that cannot be used is left out and the others serve.
    pub(super) fn parse(document: &[u8]) -> Result<Self, BadJwks> {
        let document: Document = serde_json::from_slice(document).map_err(|_| BadJwks::NotASet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(BadJwks::TooMany);
        }
        let mut set = Self::default();
        for key in document.keys {
            match Jwk::published(key.clone()).map_err(Unusable::Broken).and_then(VerificationKey::of) {
                Ok(usable) => set.keys.push(usable),
                Err(why) => set.left_out.push(LeftOut::new(&key, why)),
            }
        }
        Ok(set)
    }

    /// The keys of the set that cannot be used, in its order.
    pub(super) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may have signed a token with this header.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: ProofAlgorithm) -> Found<'_> {
        let Some(kid) = kid else { return self.find_the_only(algorithm) };
        let named: Vec<_> = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).collect();
        if named.is_empty() {
            return Found::Unknown;
        }
        let fit: Vec<_> = named.into_iter().filter(|key| key.fits(algorithm)).collect();
        if fit.is_empty() { Found::WrongAlgorithm } else { Found::Keys(fit) }
    }

    /// A token may go without `kid` only where that is unambiguous (OpenID Connect Core 1.0 §10.1).
    fn find_the_only(&self, algorithm: ProofAlgorithm) -> Found<'_> {
        let fit: Vec<_> = self.keys.iter().filter(|key| key.fits(algorithm)).collect();
        match fit.len() {
            0 => Found::Unknown,
            1 => Found::Keys(fit),
            _ => Found::Ambiguous,
        }
    }
}

#[cfg(test)]
mod tests;
