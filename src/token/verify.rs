//! The check of an access token: ours, whole, and of this hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::domain::digest::Digest;
use crate::domain::time::{NumericDate, Timestamp};
use crate::token::claims::Claims;
use crate::token::key::Key;

/// A longer token is neither made nor read.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// Why a token is none of ours, or dead. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is over 16 KiB")]
    TooLarge,
    #[error("the token is not three parts of base64url")]
    Malformed,
    #[error("no published key writes such a header")]
    UnknownKey,
    #[error("the signature is not of the key that the header names")]
    Signature,
    #[error("the claims are not those of an access token")]
    Claims,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// What is counted for a token beside its length: the claims that are in every token, and the memory's own.
const EACH: u64 = 1024;
/// A guess at the length of a token, to lay out the memory.
const USUAL: u64 = 1000;
/// How often dead tokens are forgotten. Their memory would come back when others need it, and until then be of no use.
const SWEEP: Duration = Duration::from_secs(60);

/// Tokens that one generation of the keys has verified lately, by the SHA-256 of each: a resource server asks for
/// the same token again and again. A hit spares the signature and the reading. What changes with time is
/// judged anew, and the next generation of keys begins with none.
pub(super) struct VerifiedTokens {
    cache: Cache<Digest, Arc<Remembered>, ByBytes>,
    swept: Mutex<Timestamp>,
}

struct Remembered {
    claims: Arc<Claims>,
    token_bytes: usize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Digest, Arc<Remembered>> for ByBytes {
    /// About what the claims take: a permission is held as it is and in the JSON.
    fn weight(&self, _: &Digest, remembered: &Arc<Remembered>) -> u64 {
        weight(remembered.token_bytes as u64)
    }
}

fn weight(token_bytes: u64) -> u64 {
    EACH + 3 * token_bytes
}

impl VerifiedTokens {
    /// Takes at most `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        let items = usize::try_from(memory / weight(USUAL)).unwrap_or(usize::MAX);
        Self {
            cache: Cache::with_weighter(items, memory, ByBytes),
            swept: Mutex::new(Timestamp::from_millis(0)),
        }
    }

    /// Forgets tokens that are dead at `now`, once a minute.
    pub(super) fn forget_dead(&self, now: Timestamp) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if now.since(*swept) < SWEEP && *swept <= now {
                return;
            }
            *swept = now;
        }
        self.cache.retain(|_, remembered| NumericDate::from(now) < remembered.claims.exp);
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, u64) {
        (self.cache.len(), self.cache.weight())
    }

    /// The claims of `token`, if one of `keys` signed it, and it is of `issuer`.
    pub(super) fn claims(
        &self,
        keys: &[Arc<Key>],
        token: &str,
        issuer: &str,
    ) -> Result<Arc<Claims>, TokenError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenError::TooLarge);
        }
        let digest = Digest::of(token.as_bytes());
        if let Some(remembered) = self.cache.get(&digest) {
            return of_issuer(&remembered.claims, issuer).map(|()| Arc::clone(&remembered.claims));
        }
        let claims = Arc::new(signed(keys, token)?);
        of_issuer(&claims, issuer)?;
        let remembered = Remembered { claims: Arc::clone(&claims), token_bytes: token.len() };
        self.cache.insert(digest, Arc::new(remembered));
        Ok(claims)
    }
}

/// Checks the signature of `token` by one of `keys`, and reads it.
///
/// The header must be byte for byte what one of the keys writes. That settles `typ`, `alg`, `kid`,
/// `crit`, embedded keys and repeated members at once: a header chooses nothing.
fn signed(keys: &[Arc<Key>], token: &str) -> Result<Claims, TokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    if payload.contains('.') {
        return Err(TokenError::Malformed);
    }
    let key = keys.iter().find(|key| key.header == header).ok_or(TokenError::UnknownKey)?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, key.jwt_algorithm()) {
        Ok(true) => {}
        Ok(false) => return Err(TokenError::Signature),
        Err(_) => return Err(TokenError::Malformed),
    }
    let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed)?;
    let claims: Claims = serde_json::from_slice(&json).map_err(|_| TokenError::Claims)?;
    if claims.is_consistent() { Ok(claims) } else { Err(TokenError::Claims) }
}

/// Another node, whose clock may be ahead, may have set `nbf`; the end of a token has no leeway.
const LEEWAY: Duration = Duration::from_secs(5);

fn of_issuer(claims: &Claims, issuer: &str) -> Result<(), TokenError> {
    if *claims.iss == *issuer { Ok(()) } else { Err(TokenError::Issuer) }
}

pub(super) fn in_force(claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    if NumericDate::from(now) >= claims.exp {
        Err(TokenError::Expired)
    } else if NumericDate::from(now + LEEWAY) < claims.nbf {
        Err(TokenError::NotYetValid)
    } else {
        Ok(())
    }
}
