//! Tokens as their bearers, their verifiers and their forgers have them.

mod attacks;
mod crypto;
mod rotation;
mod sealing;
mod signing;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key;
use super::settings::TokenSettings;
use super::*;
use crate::domain::agent::example;
use crate::domain::grant::Grant;
use crate::domain::id::TokenId;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::permission::{GrantedPermission, ResourceKind};
use crate::domain::random::Random;
use crate::domain::receipt::Receipt;
use crate::domain::signing::{KeyPurpose, SealedKey, SigningAlgorithm};
use crate::domain::time::{NumericDate, Timestamp};

const ISSUER: &str = "https://hallpass.acme.internal";
const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

const RSA: &str = include_str!("keys/rsa-2048.pem");
const RSA_PKCS1: &str = include_str!("keys/rsa-2048-pkcs1.pem");
const RSA_OTHER: &str = include_str!("keys/rsa-2048-other.pem");

#[expect(clippy::disallowed_methods, reason = "where the tests of this layer take their randomness")]
fn random() -> Random {
    Random::new(ring::rand::SystemRandom::new())
}

fn kek() -> KeyEncryptionKey {
    KeyEncryptionKey::from_text(&"5a".repeat(32)).unwrap()
}

fn settings(algorithm: SigningAlgorithm) -> TokenSettings {
    let rsa_key = (algorithm == SigningAlgorithm::Rs256).then(|| RSA.into());
    TokenSettings {
        algorithm,
        rsa_key,
        rotate_every: 30 * DAY,
        publish_ahead: HOUR,
        verified_memory: 384 << 20,
    }
}

fn open(algorithm: SigningAlgorithm) -> KeyRing {
    KeyRing::open(settings(algorithm), kek(), Vec::new(), random(), NOW).unwrap().0
}

fn all<T: std::str::FromStr<Err: std::fmt::Debug>, C: FromIterator<T>>(texts: &[&str]) -> C {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// All claims, with a fixed id.
fn claims() -> Claims {
    let agent = example::agent("payments-refactorer", Vec::new());
    let identity = VerifiedIdentity {
        issuer: "github".parse().unwrap(),
        subject: "repo:acme@77/payments@456789:ref:refs/heads/main".into(),
        claims: Default::default(),
        expires: NOW + HOUR,
    };
    let payments = GrantedPermission {
        kind: ResourceKind::GitRepository,
        identifier: "payments".parse().unwrap(),
        locations: all(&["https://github.com/acme/payments"]),
        actions: all(&["read", "push"]),
        refs: all(&["refs/heads/agent/*"]),
        paths: Vec::new(),
        environment: Some("staging".into()),
    };
    let ledger = GrantedPermission {
        kind: ResourceKind::HttpEndpoint,
        identifier: "ledger".parse().unwrap(),
        locations: all(&["https://ledger.staging.acme.internal"]),
        actions: all(&["GET"]),
        refs: Vec::new(),
        paths: all(&["/v1/entries/**"]),
        environment: Some("staging".into()),
    };
    let grant = Grant { permissions: vec![payments, ledger].into(), ttl: Duration::from_secs(600) };
    let jti = TokenId::new(NOW, &[7; 10]);
    let claims = Claims::new(
        &ISSUER.into(),
        &agent,
        &identity,
        &grant,
        &"sha256:00ff".into(),
        jti,
        NOW + Duration::from_millis(999),
    );
    Claims { as_of: crate::domain::revocation::Revision::new(4711), ..claims }
}

/// The token, opened by the receipt of its event.
fn released(token: Result<UnreleasedToken, KeyError>) -> AccessToken {
    let token = token.unwrap();
    let receipt = Receipt::of_durable(1, token.sha256());
    token.release(&receipt).unwrap()
}

/// The claims of a token that is issued at `now` and lives `life`.
fn claims_at(now: Timestamp, life: Duration) -> Claims {
    let iat = now.into();
    Claims { iat, nbf: iat, exp: iat + life.into(), ..claims() }
}

fn part(token: &str, n: usize) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn kid_of(token: &str) -> String {
    let header: serde_json::Value = serde_json::from_str(&part(token, 0)).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

fn kids(ring: &KeyRing) -> Vec<String> {
    let jwks: serde_json::Value = serde_json::from_str(&ring.jwks()).unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}
