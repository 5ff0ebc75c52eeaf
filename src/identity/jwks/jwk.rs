//! One JWK (RFC 7517 §4), as a set or a proof has it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

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

/// Members whose values are base64url.
const ENCODED: [&str; 4] = ["n", "e", "x", "y"];

impl Jwk {
    /// One that an issuer publishes. What widely used software writes wrongly and what cannot be misread is taken as it
    /// was meant: an empty `use`, `alg`, `kid` or `key_ops` as none, base64 with padding or of the standard alphabet, and
    /// coordinates without their leading zeros or with one too many (RFC 7518 §6.2.1.2 wants the full length).
    ///
    /// # Errors
    /// Which member is missing or of the wrong type.
    pub(super) fn published(mut jwk: Value) -> Result<Self, &'static str> {
        let members = jwk.as_object_mut().ok_or("it is not a JSON object")?;
        for (name, empty) in [
            ("use", Value::from("")),
            ("alg", "".into()),
            ("kid", "".into()),
            ("key_ops", Value::Array(Vec::new())),
        ] {
            if members.get(name) == Some(&empty) {
                members.remove(name);
            }
        }
        for name in ENCODED {
            if let Some(Value::String(text)) = members.get_mut(name) {
                *text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
            }
        }
        for (name, wrong) in [
            ("kty", "kty is not a string"),
            ("kid", "kid is not a string"),
            ("alg", "alg is not a string"),
            ("use", "use is not a string"),
            ("crv", "crv is not a string"),
            ("n", "n is not a string"),
            ("e", "e is not a string"),
            ("x", "x is not a string"),
            ("y", "y is not a string"),
        ] {
            match members.get(name) {
                None if name == "kty" => return Err("it has no kty"),
                None | Some(Value::Null | Value::String(_)) => {}
                Some(_) => return Err(wrong),
            }
        }
        let jwk: Self = serde_json::from_value(jwk).map_err(|_| "key_ops is not an array of strings")?;
        Ok(Self { x: jwk.coordinate(jwk.x.as_deref()), y: jwk.coordinate(jwk.y.as_deref()), ..jwk })
    }

    /// A coordinate of the curve's length, where that is all that is wrong with it.
    fn coordinate(&self, text: Option<&str>) -> Option<String> {
        let text = text?;
        let length = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => 32,
            ("EC", Some("P-384")) => 48,
            _ => return Some(text.to_owned()),
        };
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else { return Some(text.to_owned()) };
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let digits = &bytes[start..];
        if bytes.is_empty() || digits.len() > length {
            return Some(text.to_owned());
        }
        let full = [&vec![0; length - digits.len()][..], digits].concat();
        Some(URL_SAFE_NO_PAD.encode(full))
    }

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
