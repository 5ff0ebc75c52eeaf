//! The proof of a registered key: a signed assertion (RFC 7523 §3), made for one request.

use ring::signature::Ed25519KeyPair;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::token::jws;
use crate::domain::id::AgentId;
use crate::domain::random::{NoRandomness, Random};
use crate::domain::time::Timestamp;

/// Seconds an assertion lives: it is used at once, so the rest is for clocks that differ.
const LIFETIME: i64 = 60;

/// An assertion that `agent` holds `key`, for the broker named `issuer`. EdDSA (RFC 8037 §3.1).
///
/// # Errors
/// When there are no random bytes for its `jti`.
pub fn sign(
    key: &Ed25519KeyPair,
    agent: &AgentId,
    issuer: &str,
    now: Timestamp,
    random: &Random,
) -> Result<Zeroizing<String>, NoRandomness> {
    let claims = json!({
        "iss": agent,
        "sub": agent,
        "aud": issuer,
        "iat": now.seconds(),
        "exp": now.seconds() + LIFETIME,
        "jti": jws::id(random)?,
    });
    Ok(jws::sign(key, &json!({"alg": "EdDSA", "typ": "JWT"}), &claims))
}
