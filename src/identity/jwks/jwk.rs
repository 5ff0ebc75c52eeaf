//! One JWK (RFC 7517 §4), as a set or a proof has it.

use serde::Deserialize;

use crate::identity::json::{Json, Object};

/// The members that decide. `d` is looked for, never kept.
#[derive(Deserialize)]
pub(super) struct Jwk {
    pub(super) kty: String,
    pub(super) kid: Option<String>,
    pub(super) alg: Option<String>,
    #[serde(rename = "use")]
    pub(super) usage: Option<String>,
    pub(super) key_ops: Option<Vec<String>>,
    pub(super) crv: Option<String>,
    pub(super) n: Option<String>,
    pub(super) e: Option<String>,
    pub(super) x: Option<String>,
    pub(super) y: Option<String>,
    pub(super) d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    /// The members that decide, where each is of its type. Whoever asks has looked for private ones.
    pub(super) fn embedded(jwk: &Object) -> Option<Self> {
        let text = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Json::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        let key_ops = match jwk.get("key_ops") {
            None => None,
            Some(Json::Array(ops)) => Some(
                ops.iter()
                    .map(|op| match op {
                        Json::String(op) => Some(op.clone()),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            Some(_) => return None,
        };
        Some(Self {
            kty: text("kty")??,
            kid: None,
            alg: text("alg")?,
            usage: text("use")?,
            key_ops,
            crv: text("crv")?,
            n: text("n")?,
            e: text("e")?,
            x: text("x")?,
            y: text("y")?,
            d: None,
        })
    }
}
