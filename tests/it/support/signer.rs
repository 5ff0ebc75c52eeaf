//! Private keys that sign what tests present as proofs: a compact JWS by ring, written out by hand, so
//! that a token can be wrong in any way.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// A key pair and the `kid` under which it is published.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// The operating system's randomness.
#[expect(clippy::disallowed_methods, reason = "test keys and signatures need no seed of ours")]
pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The DER within a PEM of one block.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(text).expect("a PEM file")
}

impl Signer {
    /// A new P-256 key.
    pub(crate) fn es256(kid: &str) -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random()).expect("a key");
        Self::of_pkcs8(kid, "ES256", document.as_ref())
    }

    /// A new Ed25519 key.
    pub(crate) fn ed25519(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&random()).expect("a key");
        Self::of_pkcs8(kid, "EdDSA", document.as_ref())
    }

    /// The RSA key of the vectors: making one takes longer than most tests.
    pub(crate) fn rs256(kid: &str) -> Self {
        let pem = include_str!("../../vectors/keys/rsa-2048.test-only.pem");
        Self::of_pkcs8(kid, "RS256", &der(pem))
    }

    /// A PKCS#8 key for `alg`.
    pub(crate) fn of_pkcs8(kid: &str, alg: &str, pkcs8: &[u8]) -> Self {
        let elliptic = |by| EcdsaKeyPair::from_pkcs8(by, pkcs8, &random()).expect("an EC key");
        let pair = match alg {
            "ES256" => Pair::P256(elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            "ES384" => Pair::P384(elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            "EdDSA" => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).expect("an Ed25519 key"))
            }
            _ => Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).expect("an RSA key")),
        };
        Self { kid: kid.to_owned(), pair }
    }

    /// What `alg` says by default for this key.
    pub(crate) fn alg(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public key as a JWK without `kid`, `alg` or `use`.
    pub(crate) fn public_jwk(&self) -> Value {
        let point = |crv: &str, bytes: &[u8]| {
            let (x, y) = bytes[1..].split_at(bytes.len() / 2);
            json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)})
        };
        match &self.pair {
            Pair::P256(pair) => point("P-256", pair.public_key().as_ref()),
            Pair::P384(pair) => point("P-384", pair.public_key().as_ref()),
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
            }
            Pair::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public_key().into();
                json!({"kty": "RSA", "n": base64url(public.n), "e": base64url(public.e)})
            }
        }
    }

    /// As an issuer publishes it.
    pub(crate) fn published_jwk(&self) -> Value {
        let mut jwk = self.public_jwk();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The signature over `message`; `alg` matters to RSA keys alone.
    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random(), message).expect("a signature").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match alg {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random(), message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// A compact JWS over these very texts.
    pub(crate) fn compact(&self, alg: &str, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.sign(alg, signed.as_bytes());
        format!("{signed}.{}", base64url(signature))
    }

    /// A well-formed token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.alg(), "typ": "JWT", "kid": self.kid});
        self.compact(self.alg(), header.to_string(), claims.to_string())
    }
}
