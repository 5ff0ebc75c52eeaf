//! The proof of a registered key: a signed assertion (RFC 7523 §3), made for one request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

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
    let claims = serde_json::json!({
        "iss": agent,
        "sub": agent,
        "aud": issuer,
        "iat": now.seconds(),
        "exp": now.seconds() + LIFETIME,
        "jti": URL_SAFE_NO_PAD.encode(random.bytes::<16>()?),
    });
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let mut jwt = Zeroizing::new(format!("{header}.{claims}"));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(jwt.as_bytes()));
    jwt.push('.');
    jwt.push_str(&signature);
    Ok(jwt)
}
