//! `[token]`.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::config::files;
use crate::document::{Field, Mistakes, Table, show_duration};
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::signing::SigningAlgorithm;
use crate::token::check_rsa_key;
use crate::token::settings::TokenSettings;

const DEFAULT_TTL: Duration = Duration::from_secs(10 * 60);
const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 86_400);
const DEFAULT_AHEAD: Duration = Duration::from_secs(60 * 60);

/// 100,000 tokens of 1,000 bytes.
const DEFAULT_MEMORY_MIB: u32 = 384;
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 1..=65_536;

/// A key older than this should have been replaced.
const MAX_ROTATION: Duration = Duration::from_secs(366 * 86_400);

pub(super) struct Token {
    pub(super) settings: Option<TokenSettings>,
    pub(super) ttl: Option<Duration>,
    pub(super) dpop_nonce: Option<bool>,
    pub(super) strict_assertion_audience: Option<bool>,
}

/// `max_ttl` is that of the guardrails, which a default never exceeds.
pub(super) fn read(root: &Table<'_>, max_ttl: Duration, mistakes: &Mistakes) -> Token {
    let section = root.section("token");
    let ttl = ttl(section.key("ttl", "\"10m\""), max_ttl, mistakes);
    let algorithm = section.key("algorithm", "\"ES256\"");
    let algorithm = if algorithm.is_present() {
        algorithm.parse::<AlgorithmName>().map(|algorithm| algorithm.value.0)
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
    let rsa_key = match algorithm {
        Some(SigningAlgorithm::Rs256) => rsa_key(rsa_key_file.required(), mistakes).map(Some),
        Some(_) if rsa_key_file.is_present() => {
            let remedy = "take it out, or write algorithm = \"RS256\"";
            mistakes.add(rsa_key_file.place(), "has no meaning with this algorithm", remedy);
            None
        }
        _ => Some(None),
    };
    let verified_memory =
        section.key("verified_memory_mib", "384").or(DEFAULT_MEMORY_MIB, |field| field.number());
    if let Some(memory) = verified_memory.as_ref().filter(|memory| !MEMORY_MIB.contains(&memory.value)) {
        let problem = format!("{} is not from {} to {}", memory.value, MEMORY_MIB.start(), MEMORY_MIB.end());
        mistakes.add(&memory.place, problem, format!("write verified_memory_mib = {DEFAULT_MEMORY_MIB}"));
    }
    let dpop_nonce = section.key("dpop_nonce", "true").or(false, |field| field.boolean());
    let strict = section.key("strict_assertion_audience", "true").or(false, |field| field.boolean());
    let settings = (|| {
        Some(TokenSettings {
            algorithm: algorithm?,
            rsa_key: rsa_key?,
            rotate_every: rotate_every?.value,
            publish_ahead: publish_ahead?.value,
            verified_memory: u64::from(verified_memory?.value) << 20,
        })
    })();
    Token {
        settings,
        ttl,
        dpop_nonce: dpop_nonce.map(|nonce| nonce.value),
        strict_assertion_audience: strict.map(|strict| strict.value),
    }
}

fn ttl(field: Field<'_>, max_ttl: Duration, mistakes: &Mistakes) -> Option<Duration> {
    if !field.is_present() {
        return Some(DEFAULT_TTL.min(max_ttl));
    }
    let ttl = field.whole_seconds(Duration::from_secs(1)..=MAX_TOKEN_LIFETIME)?;
    if ttl.value > max_ttl {
        let (has, limit) = (show_duration(ttl.value), show_duration(max_ttl));
        let problem = format!("{has} is over guardrails.max_ttl, {limit}");
        mistakes.add(&ttl.place, problem, format!("write at most {limit}, or raise guardrails.max_ttl"));
    }
    Some(ttl.value)
}

fn rsa_key(field: Field<'_>, mistakes: &Mistakes) -> Option<SecretString> {
    let key = files::secret(field, "the token signing key", mistakes)?;
    if mistakes.judge_files()
        && let Err(problem) = check_rsa_key(key.value.expose_secret())
    {
        mistakes.add(
            &key.place,
            format!("cannot be used: {problem}"),
            "name a PEM file, as `openssl genrsa 3072` writes it",
        );
    }
    Some(key.value)
}

struct AlgorithmName(SigningAlgorithm);

impl FromStr for AlgorithmName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "is not one of ES256, EdDSA and RS256")
    }
}
