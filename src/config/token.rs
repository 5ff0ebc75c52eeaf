//! `[token]`.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::files;
use crate::domain::guardrails::{Guardrails, MAX_TOKEN_LIFETIME};
use crate::domain::signing::SigningAlgorithm;
use crate::registry::document::{Located, Mistakes, Table, show_duration};
use crate::token::settings::TokenSettings;

const DEFAULT_TTL: Duration = Duration::from_secs(10 * 60);
const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 86_400);
const DEFAULT_AHEAD: Duration = Duration::from_secs(60 * 60);

/// A key older than this should have been replaced.
const MAX_ROTATION: Duration = Duration::from_secs(366 * 86_400);

pub(super) struct Token {
    pub(super) settings: Option<TokenSettings>,
    pub(super) ttl: Option<Located<Duration>>,
}

pub(super) fn read(root: &Table<'_>, mistakes: &Mistakes) -> Token {
    let section = root.section("token");
    let lifetime = Duration::from_secs(1)..=MAX_TOKEN_LIFETIME;
    let ttl = section.key("ttl", "\"10m\"").or(DEFAULT_TTL, |field| field.duration(lifetime));
    let algorithm = section.key("algorithm", "\"ES256\"");
    let algorithm = if algorithm.is_present() {
        algorithm.parse::<SigningAlgorithm>().map(|algorithm| algorithm.value)
    } else {
        Some(SigningAlgorithm::Es256)
    };
    let rotation = Duration::from_secs(1)..=MAX_ROTATION;
    let rotate_every =
        section.key("rotate_every", "\"30d\"").or(DEFAULT_ROTATION, |field| field.duration(rotation.clone()));
    let publish_ahead =
        section.key("publish_ahead", "\"1h\"").or(DEFAULT_AHEAD, |field| field.duration(rotation));
    if let (Some(every), Some(ahead)) = (&rotate_every, &publish_ahead)
        && ahead.value >= every.value
    {
        let place = if section.has("rotate_every") { &every.place } else { &ahead.place };
        let problem = format!(
            "publish_ahead {} is not shorter than rotate_every {}",
            show_duration(ahead.value),
            show_duration(every.value)
        );
        mistakes.add(place, problem, "publish each key a part of its time ahead, such as 1h of 30d");
    }
    let rsa_key_file = section.key("rsa_key_file", "\"/run/secrets/token-signing-key.pem\"");
    let rsa = algorithm == Some(SigningAlgorithm::Rs256);
    if algorithm.is_some() && !rsa && rsa_key_file.is_present() {
        let remedy = "take it out, or write algorithm = \"RS256\"";
        mistakes.add(rsa_key_file.place(), "has no meaning with this algorithm", remedy);
    }
    let rsa_key_file = if rsa { rsa_key_file.required() } else { rsa_key_file };
    let rsa_key = files::secret(rsa_key_file, mistakes);
    if let Some(key) = &rsa_key
        && !key.value.expose_secret().contains("PRIVATE KEY-----")
    {
        let remedy = "name a PEM file, as `openssl genrsa 3072` writes it";
        mistakes.add(&key.place, "is not a private key in PEM", remedy);
    }
    let settings = (|| {
        Some(TokenSettings {
            algorithm: algorithm?,
            rsa_key: if rsa { Some(rsa_key?.value) } else { None },
            rotate_every: rotate_every?.value,
            publish_ahead: publish_ahead?.value,
        })
    })();
    Token { settings, ttl }
}

/// Tells if tokens would be cut short in silence.
pub(super) fn within(ttl: Option<&Located<Duration>>, guardrails: &Guardrails, mistakes: &Mistakes) {
    let Some(ttl) = ttl else { return };
    if ttl.value > guardrails.max_ttl {
        let (has, limit) = (show_duration(ttl.value), show_duration(guardrails.max_ttl));
        let problem = format!("{has} is over guardrails.max_ttl, {limit}");
        mistakes.add(&ttl.place, problem, format!("write at most {limit}, or raise guardrails.max_ttl"));
    }
    if !ttl.value.as_millis().is_multiple_of(1000) {
        mistakes.add(&ttl.place, "is not whole seconds", "write whole seconds, such as \"90s\"");
    }
}
