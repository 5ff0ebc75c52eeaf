//! Public keys that agents are registered with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::domain::curve::{BadPoint, check_ed25519, check_p256, check_p384};
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
    /// Whether the key is a point of its curve that only the holder of a private key can sign for.
    pub fn check(&self) -> Result<(), BadPoint> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BadPoint::NotCanonical);
        let (x, y) = (bytes(&self.x)?, self.y.as_deref().map(bytes).transpose()?);
        match (self.crv.as_str(), y) {
            ("Ed25519", None) => check_ed25519(&x),
            ("P-256", Some(y)) => check_p256(&x, &y),
            ("P-384", Some(y)) => check_p384(&x, &y),
            _ => Err(BadPoint::OffCurve),
        }
    }

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
