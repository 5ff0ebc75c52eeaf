//! The check of an access token: ours, whole, and of this hour.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::time::Timestamp;
use crate::token::claims::Claims;
use crate::token::key::Key;

/// A longer token is neither made nor read (DESIGN §15).
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

/// Checks `token` against `keys`.
///
/// The header must be byte for byte what one of the keys writes. That settles `typ`, `alg`, `kid`,
/// `crit`, embedded keys and repeated members at once: a header chooses nothing. There is no leeway,
/// for the clock that set the times is the one that reads them.
pub(super) fn verify(
    keys: &[Arc<Key>],
    token: &str,
    issuer: &str,
    now: Timestamp,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(TokenError::TooLarge);
    }
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
    if *claims.iss != *issuer {
        Err(TokenError::Issuer)
    } else if now.seconds() >= claims.exp {
        Err(TokenError::Expired)
    } else if now.seconds() < claims.nbf {
        Err(TokenError::NotYetValid)
    } else if !claims.is_consistent() {
        Err(TokenError::Claims)
    } else {
        Ok(claims)
    }
}
