//! The broker's signing keys, as `token` makes them and `store` keeps them: sealed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;

/// What access tokens are signed with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// With a PEM key that the operator gives.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            "RS256" => Ok(Self::Rs256),
            _ => Err("one of ES256, EdDSA, RS256"),
        }
    }
}

/// What a sealed key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Signs access tokens.
    Token,
    /// Signs checkpoints of the audit log; never rotated, for its name is the log's origin.
    Checkpoint,
}

/// A private key under AES-256-GCM. `kid`, `purpose` and `algorithm` are authenticated with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The RFC 7638 thumbprint of the public key, base64url.
    pub kid: String,
    pub purpose: KeyPurpose,
    pub algorithm: SigningAlgorithm,
    pub created: Timestamp,
    /// From when it signs; until then it is only published.
    pub signs_from: Timestamp,
    /// Nonce ‖ ciphertext ‖ tag.
    pub sealed: Vec<u8>,
}

/// What an event says of a sealed key: enough to tell whether the store still has this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    pub kid: String,
    pub purpose: KeyPurpose,
    pub algorithm: SigningAlgorithm,
    pub created: Timestamp,
    pub signs_from: Timestamp,
    /// Of the sealed bytes.
    pub sha256: Digest,
}

impl From<&SealedKey> for KeyRecord {
    fn from(key: &SealedKey) -> Self {
        Self {
            kid: key.kid.clone(),
            purpose: key.purpose,
            algorithm: key.algorithm,
            created: key.created,
            signs_from: key.signs_from,
            sha256: Digest::of(&key.sealed),
        }
    }
}
