//! A CI platform's keys, and proofs that it signed before the clock runs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use url::form_urlencoded;

pub(crate) const AUDIENCE: &str = "https://hallpass.bench";
pub(crate) const ISSUER: &str = "https://ci.bench";

pub(crate) struct Platform {
    pub(crate) es256: EcdsaKeyPair,
    rs256: RsaKeyPair,
    random: SystemRandom,
}

impl Platform {
    #[expect(clippy::disallowed_methods, reason = "the bench signs with real keys")]
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let es256 = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        let rs256 = rsa_key();
        Self { es256, rs256, random }
    }

    pub(crate) fn jwks(&self) -> Value {
        let point = self.es256.public_key().as_ref();
        let rsa: PublicKeyComponents<Vec<u8>> = self.rs256.public().into();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "es256",
             "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rs256", "n": encode(&rsa.n), "e": encode(&rsa.e)},
        ]})
    }

    fn input(alg: &str, kid: &str, number: usize) -> String {
        let now = now();
        let header = json!({"alg": alg, "typ": "JWT", "kid": kid});
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/payments:ref:refs/heads/main",
            "repository_id": "456789", "ref": "refs/heads/main", "repository": "acme/payments",
            "run_id": number.to_string(), "actor": "octocat", "event_name": "push",
            "job_workflow_ref": "acme/payments/.github/workflows/agent.yml@refs/heads/main",
            "iat": now, "nbf": now, "exp": now + 3600,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(&header), part(&claims))
    }
}

#[expect(clippy::disallowed_methods, reason = "proofs are of the time they are signed")]
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Bodies of token requests, each with a proof of its own.
#[derive(Clone)]
pub(crate) struct Proofs(Vec<String>);

fn body(proof: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        .append_pair("subject_token", proof)
        .finish()
}

impl Proofs {
    pub(crate) fn es256(platform: &Platform, count: usize) -> Self {
        let sign = |number| {
            let input = Platform::input("ES256", "es256", number);
            let signature = platform.es256.sign(&platform.random, input.as_bytes()).expect("signed");
            body(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
        };
        Self((0..count).map(sign).collect())
    }

    pub(crate) fn rs256(platform: &Platform, count: usize) -> Self {
        let sign = |number| {
            let input = Platform::input("RS256", "rs256", number);
            let mut signature = vec![0; platform.rs256.public().modulus_len()];
            let signed =
                platform.rs256.sign(&RSA_PKCS1_SHA256, &platform.random, input.as_bytes(), &mut signature);
            signed.expect("signed");
            body(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
        };
        Self((0..count).map(sign).collect())
    }

    pub(crate) fn slice(&self, from: usize, count: usize) -> Self {
        Self(self.0[from..from + count].to_vec())
    }

    /// `count` bodies that go round these.
    pub(crate) fn repeated(&self, count: usize) -> Self {
        Self(self.0.iter().cycle().take(count).cloned().collect())
    }

    pub(crate) fn into_bodies(self) -> Vec<String> {
        self.0
    }
}

/// A 2048-bit key, made by openssl for this run: as PKCS#8 or PKCS#1, by its version.
fn rsa_key() -> RsaKeyPair {
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
        .output()
        .expect("openssl, for the RSA key of the bench");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout)).expect("an RSA key")
}
