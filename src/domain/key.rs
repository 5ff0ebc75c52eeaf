//! Public keys that agents are registered with.

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;

/// A registered public key as a JWK (RFC 7517): Ed25519 (RFC 8037) or P-256 / P-384.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    pub kty: String,
    pub crv: String,
    pub x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

impl PublicKey {
    /// SHA-256 of the JWK thumbprint input (RFC 7638 §3, RFC 8037 §2).
    pub fn thumbprint(&self) -> Digest {
        let Self { kty, crv, x, y } = self;
        let members = match y {
            Some(y) => serde_json::json!({"crv": crv, "kty": kty, "x": x, "y": y}),
            None => serde_json::json!({"crv": crv, "kty": kty, "x": x}),
        };
        Digest::of(members.to_string().as_bytes())
    }
}
