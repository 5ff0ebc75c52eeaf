//! What this workload signs itself: a JWS in compact form (RFC 7515 §3.1) by an Ed25519 key (RFC 8037 §3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::domain::random::{NoRandomness, Random};

pub fn sign(key: &Ed25519KeyPair, header: &Value, claims: &Value) -> Zeroizing<String> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut jws = Zeroizing::new(format!("{}.{}", part(header), part(claims)));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(jws.as_bytes()));
    jws.push('.');
    jws.push_str(&signature);
    jws
}

/// A `jti` that no other has.
///
/// # Errors
/// When there are no random bytes.
pub fn id(random: &Random) -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random.bytes::<16>()?))
}
