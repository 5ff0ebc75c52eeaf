//! Which key, by which algorithm.

use ring::digest::{SHA256, digest};
use ring::hmac;
use serde_json::json;

use super::{BETA, Keys, US, claims, der, openssl, pem, refused};
use crate::support::signer::base64url;
use crate::vectors::Vector;

/// A token signed by HMAC.
fn by_hmac(alg: &str, kid: &str, secret: &[u8]) -> String {
    let by = if alg == "HS384" { hmac::HMAC_SHA384 } else { hmac::HMAC_SHA256 };
    let header = json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string();
    let signed = format!("{}.{}", base64url(header), base64url(claims(&[]).to_string()));
    let tag = hmac::sign(&hmac::Key::new(by, secret), signed.as_bytes());
    format!("{signed}.{}", base64url(tag))
}

/// Good claims under this header, with this function's signature.
fn signed_by(header: serde_json::Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims(&[]).to_string()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", base64url(signature))
}

pub(super) fn algorithms(keys: &Keys) -> Vec<Vector> {
    let bad =
        |name: &str, credential: String, why: &str| refused(name, "algorithm_not_allowed", credential, why);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "typ": "JWT", "kid": kid});
    let named = |alg: &str, kid: &str| signed_by(header(alg, kid), |m| keys.of_alg(alg).sign(alg, m));
    let es256_as = |alg: &str| signed_by(header(alg, "acme-es256"), |m| keys.es256.sign("ES256", m));
    let jwk = keys.rsa.public_jwk().to_string();
    let at_beta = claims(&[("iss", json!(BETA)), ("aud", json!("hallpass-at-beta"))]);
    let es512 = signed_by(header("ES512", "acme-es512"), |message| {
        fixed_p521(&openssl(&["dgst", "-sha512", "-sign"], "es512", message))
    });
    vec![
        bad("alg-none", es256_as("none"), "none is not an algorithm, even beside a signature"),
        bad("alg-none-title", es256_as("None"), "however it is written"),
        bad("alg-none-mixed", es256_as("nOnE"), "however it is written"),
        bad("alg-lower-case", es256_as("es256"), "names are compared with case (RFC 7515 §4.1.1)"),
        bad("alg-unknown", es256_as("ES256K"), "not one that hallpass verifies"),
        bad("alg-es512", es512, "a real signature, but P-521 is not offered"),
        bad(
            "alg-hs256-rsa-jwk",
            by_hmac("HS256", "acme-rsa", jwk.as_bytes()),
            "a public key is not a secret",
        ),
        bad(
            "alg-hs256-rsa-modulus",
            by_hmac("HS256", "acme-rsa", keys.rsa.public_jwk()["n"].as_str().unwrap().as_bytes()),
            "a public key is not a secret",
        ),
        bad(
            "alg-hs384-ec-jwk",
            by_hmac("HS384", "acme-es256", keys.es256.public_jwk().to_string().as_bytes()),
            "a public key is not a secret",
        ),
        bad(
            "alg-hs256-published-secret",
            by_hmac("HS256", "acme-oct", b"a secret that everyone can read"),
            "a symmetric key in a public set is everyone's",
        ),
        bad("alg-rs256-for-ec-key", named("RS256", "acme-es256"), "the key that kid names is P-256"),
        bad("alg-es256-for-rsa-key", named("ES256", "acme-rsa"), "the key that kid names is RSA"),
        bad("alg-es384-for-p256-key", named("ES384", "acme-es256"), "a curve goes with its own hash"),
        bad("alg-ps256-for-pinned-key", named("PS256", "acme-rsa-pinned"), "the key's own alg is RS256"),
        bad(
            "alg-not-of-this-issuer",
            keys.rsa.token(&at_beta),
            "beta publishes this RSA key, but its tokens may be ES256 alone",
        ),
    ]
}

pub(super) fn signatures(keys: &Keys) -> Vec<Vector> {
    let bad = |name: &str, credential: String, why: &str| refused(name, "signature_invalid", credential, why);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "typ": "JWT", "kid": kid});
    let rsa = |says: &'static str, does: &'static str| {
        signed_by(header(says, "acme-rsa"), |message| keys.rsa.sign(does, message))
    };
    let es256 = |change: fn(Vec<u8>) -> Vec<u8>| {
        signed_by(header("ES256", "acme-es256"), |message| change(keys.es256.sign("ES256", message)))
    };
    let good = keys.es256.token(&claims(&[]));
    let other = keys.es256.token(&claims(&[("sub", json!("repo:acme/other"))]));
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap().to_owned();
    vec![
        bad("sig-ps256-says-rs256", rsa("RS256", "PS256"), "one padding is not the other"),
        bad("sig-rs256-says-ps256", rsa("PS256", "RS256"), "one padding is not the other"),
        bad("sig-rs256-says-rs512", rsa("RS512", "RS256"), "one hash is not the other"),
        bad("sig-zero", es256(|_| vec![0; 64]), "r = s = 0 verifies nothing (CVE-2022-21449)"),
        bad(
            "sig-short",
            es256(|mut sig| sig.split_off(1)),
            "an ES256 signature has 64 bytes (RFC 7518 §3.4)",
        ),
        bad(
            "sig-long",
            es256(|sig| [sig, vec![0]].concat()),
            "an ES256 signature has 64 bytes (RFC 7518 §3.4)",
        ),
        bad("sig-der", es256(|sig| der_of(&sig)), "ASN.1 is not JOSE's form of a signature"),
        bad("sig-swapped", es256(|sig| [&sig[32..], &sig[..32]].concat()), "r and s in their places"),
        bad(
            "sig-of-other-claims",
            format!("{}.{}.{}", part(&good, 0), part(&other, 1), part(&good, 2)),
            "the claims are not those that were signed",
        ),
        bad(
            "sig-of-other-header",
            keys.acme_header(r#"{"alg":"ES256","kid":"acme-es256"}"#).replacen(
                &base64url(r#"{"alg":"ES256","kid":"acme-es256"}"#),
                &base64url(r#"{"alg":"ES256","kid":"acme-es256","x":1}"#),
                1,
            ),
            "the header is signed too",
        ),
        bad(
            "sig-of-stranger",
            signed_by(header("EdDSA", "acme-ed25519"), |message| keys.stranger.sign("EdDSA", message)),
            "another's key under acme's kid",
        ),
        bad(
            "sig-of-other-issuer-same-kid",
            keys.shared_beta.token(&claims(&[])),
            "beta's key of the same kid says nothing about acme",
        ),
        bad(
            "sig-for-other-issuer-same-kid",
            keys.shared_acme.token(&claims(&[("iss", json!(BETA)), ("aud", json!("hallpass-at-beta"))])),
            "acme's key of the same kid says nothing about beta",
        ),
    ]
}

pub(super) fn choice(keys: &Keys) -> Vec<Vector> {
    let bad = |name: &str, credential: String, why: &str| refused(name, "key_unknown", credential, why);
    let under = |kid: &str| json!({"alg": "RS256", "typ": "JWT", "kid": kid});
    let rsa = |kid: &str| signed_by(under(kid), |message| keys.rsa.sign("RS256", message));
    let no_kid = json!({"alg": "ES256", "typ": "JWT"});
    vec![
        bad("kid-unknown", rsa("acme-2031"), "acme has no such key"),
        bad("kid-path", rsa("../../../../dev/null"), "a kid is a name, never a path"),
        bad("kid-sql", rsa("x' UNION SELECT 'key"), "a kid is a name, never a query"),
        bad("kid-case", rsa("ACME-RSA"), "kids are compared byte for byte"),
        bad("kid-of-other-issuer", keys.gamma.token(&claims(&[])), "gamma's key is not acme's"),
        bad("kid-absent-several", signed_by(no_kid, |m| keys.es256.sign("ES256", m)), "two keys fit: which?"),
        bad("key-for-encryption", rsa("acme-enc"), "its use is enc"),
        bad(
            "key-leaked",
            signed_by(json!({"alg": "EdDSA", "kid": "acme-leaked"}), |m| keys.stranger.sign("EdDSA", m)),
            "the set publishes its private half",
        ),
        bad(
            "key-weak-rsa",
            signed_by(under("acme-weak"), |m| openssl(&["dgst", "-sha256", "-sign"], "rsa-1024", m)),
            "a real signature, by 1024 bits",
        ),
        bad(
            "key-exponent-one",
            signed_by(under("acme-e-one"), |message| padded(message, der_len(&pem("rsa-2048")))),
            "with e = 1 the padded hash is its own signature: anybody can write it",
        ),
        bad(
            "kid-absent-none-fits",
            keys.es384.compact("ES384", r#"{"alg":"ES384"}"#, claims(&[]).to_string()).replacen(
                &base64url(r#"{"alg":"ES384"}"#),
                &base64url(r#"{"alg":"ES256"}"#),
                1,
            ),
            "without a kid, and not for any one key",
        ),
        refused(
            "aud-checked-after-signature",
            "signature_invalid",
            signed_by(json!({"alg": "ES256", "kid": "acme-es256"}), |m| keys.gamma.sign("ES256", m))
                .replacen(
                    &base64url(claims(&[]).to_string()),
                    &base64url(claims(&[("aud", json!(format!("{US}/x")))]).to_string()),
                    1,
                ),
            "what nobody signed is not judged: the signature comes first",
        ),
    ]
}

/// EMSA-PKCS1-v1_5 of the message's SHA-256 (RFC 8017 §9.2), `length` bytes.
fn padded(message: &[u8], length: usize) -> Vec<u8> {
    const PREFIX: [u8; 19] =
        [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
    let hash = digest(&SHA256, message);
    let tail = [&[0][..], &PREFIX, hash.as_ref()].concat();
    let mut block = vec![0, 1];
    block.resize(length - tail.len(), 0xff);
    block.extend(tail);
    block
}

/// The modulus length of the RSA key in a PEM, bytes.
fn der_len(pem: &str) -> usize {
    ring::signature::RsaKeyPair::from_pkcs8(&der(pem)).unwrap().public().modulus_len()
}

/// An ECDSA signature in ASN.1, of the fixed form.
fn der_of(fixed: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let mut value: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if value.first().is_none_or(|byte| *byte >= 0x80) {
            value.insert(0, 0);
        }
        [&[2, u8::try_from(value.len()).unwrap()][..], &value].concat()
    };
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// The fixed form of a P-521 signature in ASN.1: 66 bytes each.
fn fixed_p521(asn1: &[u8]) -> Vec<u8> {
    // SEQUENCE of a long-form length, then two INTEGERs of short ones.
    let mut rest = &asn1[3..];
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let (value, after) = rest[2..].split_at(usize::from(rest[1]));
        let value: Vec<u8> = value.iter().copied().skip_while(|byte| *byte == 0).collect();
        fixed.extend(vec![0; 66 - value.len()]);
        fixed.extend(value);
        rest = after;
    }
    fixed
}
