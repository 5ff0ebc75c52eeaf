//! What a proof says of its workload, read without believing it: the broker does the checking.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cli::certificate::Certificate;
use crate::cli::token::proof::Proof;
use crate::domain::time::Timestamp;

/// Who a proof says that its workload is.
pub struct Identity {
    /// For a person: what it is called, and what it says.
    pub facts: Vec<(&'static str, String)>,
    /// For a program. Of a JWT all its claims, as `hallpass agents explain --claims` takes them.
    pub claims: Value,
}

impl Identity {
    pub fn of(proof: &Proof) -> Self {
        match proof {
            Proof::IdentityToken(token) | Proof::JwtSvid(token) => Self::of_jwt(token),
            Proof::Certificate(certificate) => Self::of_certificate(certificate),
            Proof::Key { agent, key } => {
                let x = URL_SAFE_NO_PAD.encode(key.public_key());
                Self {
                    facts: vec![("agent", agent.to_string()), ("key", format!("Ed25519 {x}"))],
                    claims: json!({"agent": agent, "key": {"kty": "OKP", "crv": "Ed25519", "x": x}}),
                }
            }
        }
    }

    fn of_jwt(token: &SecretString) -> Self {
        let claims = payload(token.expose_secret()).unwrap_or_default();
        let mut facts = Vec::new();
        for (label, name) in [("issuer", "iss"), ("subject", "sub"), ("audience", "aud")] {
            facts.push((label, claims.get(name).map_or_else(|| "-".to_owned(), in_words)));
        }
        facts.extend(claims.get("exp").and_then(Value::as_i64).map(|exp| ("good until", instant(exp))));
        Self { facts, claims: Value::Object(claims) }
    }

    fn of_certificate(certificate: &Certificate) -> Self {
        let leaf = certificate.chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let Some((_, leaf)) = leaf else {
            return Self { facts: vec![("subject", "-".to_owned())], claims: json!({}) };
        };
        let names = leaf.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
        let uri = names.into_iter().flatten().find_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        let until = leaf.validity().not_after.timestamp();
        let uri = uri.unwrap_or_else(|| "-".to_owned());
        Self {
            claims: json!({"spiffe": uri, "exp": until}),
            facts: vec![("subject", uri), ("good until", instant(until))],
        }
    }
}

/// The claims of a JWT, whoever signed it.
pub fn payload(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// A claim on one line.
pub fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Seconds since the epoch, as a person reads them.
pub fn instant(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).to_string()
}
