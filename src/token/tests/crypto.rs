//! The provider that jsonwebtoken runs on, in this process, for identities too.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::crypto::install_crypto;
use super::*;
use crate::token::crypto::{KeyPair, RegisteredKey};

fn ed25519() -> Ed25519KeyPair {
    let (_, pkcs8) = key::generate_ed25519(&random()).unwrap();
    Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap()
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation
}

#[test]
fn a_registered_key_signs_while_it_lives() {
    install_crypto();
    install_crypto();
    let pair = ed25519();
    let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    let key = RegisteredKey::new(KeyPair::EdDsa(pair));
    let (header, claims) = (Header::new(Algorithm::EdDSA), json!({"a": 1}));
    let token = encode(&header, &claims, key.encoding_key()).unwrap();
    assert_eq!(decode::<Value>(&token, &public, &validation(Algorithm::EdDSA)).unwrap().claims, claims);
    assert!(encode(&Header::new(Algorithm::ES256), &claims, key.encoding_key()).is_err());
    assert!(jsonwebtoken::crypto::sign(b"", key.encoding_key(), Algorithm::ES256).is_err());
    assert_eq!(format!("{key:?}"), "RegisteredKey([redacted])");
    let handle = key.encoding_key().clone();
    drop(key);
    assert!(encode(&header, &claims, &handle).is_err(), "a dropped key is gone");
}

#[test]
fn there_is_no_hmac_and_no_key_but_the_registered() {
    install_crypto();
    let claims = json!({});
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert!(encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(&[0; 8])).is_err());
        let token = format!(
            "{}.e30.AAAA",
            URL_SAFE_NO_PAD.encode(serde_json::to_string(&Header::new(algorithm)).unwrap())
        );
        assert!(decode::<Value>(&token, &DecodingKey::from_secret(b"x"), &validation(algorithm)).is_err());
    }
    let (_, pkcs8) = key::generate_ed25519(&random()).unwrap();
    assert!(encode(&Header::new(Algorithm::EdDSA), &claims, &EncodingKey::from_ed_der(&pkcs8)).is_err());
}

/// Each algorithm verifies what ring signs by that algorithm, and what no other signs.
#[test]
fn every_asymmetric_algorithm_verifies_its_own_signatures_alone() {
    use ring::signature as by;
    install_crypto();
    let random = random();
    let rsa = PrivateKeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let rsa = by::RsaKeyPair::from_pkcs8(rsa.secret_der()).unwrap();
    let public = by::RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public());
    let rsa_keys = [
        DecodingKey::from_rsa_der(rsa.public().as_ref()),
        DecodingKey::from_rsa_raw_components(&public.n, &public.e),
    ];
    let rsa_sign = |padding: &'static dyn by::RsaEncoding| {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(padding, random.source(), b"message", &mut signature).unwrap();
        signature
    };
    let ec = |algorithm| {
        let pkcs8 = by::EcdsaKeyPair::generate_pkcs8(algorithm, random.source()).unwrap();
        let pair = by::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), random.source()).unwrap();
        let signature = pair.sign(random.source(), b"message").unwrap().as_ref().to_vec();
        (vec![DecodingKey::from_ec_der(pair.public_key().as_ref())], signature)
    };
    let (p256, es256) = ec(&by::ECDSA_P256_SHA256_FIXED_SIGNING);
    let (p384, es384) = ec(&by::ECDSA_P384_SHA384_FIXED_SIGNING);
    let signed = [
        (Algorithm::RS256, rsa_keys.to_vec(), rsa_sign(&by::RSA_PKCS1_SHA256)),
        (Algorithm::RS384, rsa_keys.to_vec(), rsa_sign(&by::RSA_PKCS1_SHA384)),
        (Algorithm::RS512, rsa_keys.to_vec(), rsa_sign(&by::RSA_PKCS1_SHA512)),
        (Algorithm::PS256, rsa_keys.to_vec(), rsa_sign(&by::RSA_PSS_SHA256)),
        (Algorithm::PS384, rsa_keys.to_vec(), rsa_sign(&by::RSA_PSS_SHA384)),
        (Algorithm::PS512, rsa_keys.to_vec(), rsa_sign(&by::RSA_PSS_SHA512)),
        (Algorithm::ES256, p256, es256),
        (Algorithm::ES384, p384, es384),
    ];
    for (by_algorithm, keys, signature) in &signed {
        let signature = URL_SAFE_NO_PAD.encode(signature);
        for (algorithm, ..) in &signed {
            for key in keys {
                let verified = jsonwebtoken::crypto::verify(&signature, b"message", key, *algorithm);
                assert_eq!(
                    verified.is_err(),
                    algorithm.family() != key.family(),
                    "no such algorithm of the key"
                );
                assert_eq!(
                    verified.unwrap_or(false),
                    algorithm == by_algorithm,
                    "{by_algorithm:?} as {algorithm:?}"
                );
            }
        }
    }
}

#[test]
fn a_thumbprint_by_jsonwebtoken_is_ours() {
    let ring = open(SigningAlgorithm::EdDsa);
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&ring.jwks()).unwrap();
    let thumbprint = jwks.keys[0].thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
    assert_eq!(Some(thumbprint), ring.signing_kid(NOW));
}
