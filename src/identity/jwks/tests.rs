use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::domain::key::PublicKey;

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair of fixed seed, and its JWK with these further members.
fn ed25519(more: &str) -> (Ed25519KeyPair, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = text(pair.public_key().as_ref());
    (pair, format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#))
}

fn rsa(bits: usize, e: &[u8], more: &str) -> String {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] >>= (8 - bits % 8) % 8;
    format!(r#"{{"kty":"RSA","n":"{}","e":"{}"{more}}}"#, text(&n), text(e))
}

/// The Ed25519 point whose y is `y`.
fn small(y: u8) -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = y;
    point
}

fn set(keys: &[String]) -> KeySet {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_and_the_others_serve() {
    let f4 = &[1, 0, 1];
    let unusable = [
        r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
        r#"{"kty":"AKP","pub":"AAAA"}"#.to_owned(),
        r#"{"kty":7}"#.to_owned(),
        "7".to_owned(),
        rsa(2047, f4, ""),
        rsa(1024, f4, ""),
        rsa(8193, f4, ""),
        rsa(2048, &[1], ""),
        rsa(2048, &[0, 1], ""),
        rsa(2048, &[2], ""),
        rsa(2048, &[0], ""),
        rsa(2048, f4, r#","use":"enc""#),
        rsa(2048, f4, r#","alg":"RSA-OAEP""#),
        rsa(2048, f4, r#","alg":"ES256""#),
        rsa(2048, f4, r#","key_ops":["encrypt"]"#),
        rsa(2048, f4, r#","d":"AQAB""#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, text(&[1; 33])),
        r#"{"kty":"EC","crv":"P-256","x":"","y":""}"#.to_owned(),
        format!(r#"{{"kty":"EC","crv":"P-521","x":"{0}","y":"{0}"}}"#, text(&[1; 66])),
        format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{0}","y":"{0}"}}"#, text(&[1; 32])),
        // No points of their curves, one that anybody can sign for, and another spelling of one.
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, text(&[1; 32])),
        format!(r#"{{"kty":"EC","crv":"P-384","x":"{0}","y":"{0}"}}"#, text(&[1; 48])),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(&small(2))),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(&small(1))),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(&[0xff; 32])),
        format!(r#"{{"kty":"OKP","crv":"Ed448","x":"{}"}}"#, text(&[1; 57])),
        format!(r#"{{"kty":"OKP","crv":"X25519","x":"{}"}}"#, text(&[1; 32])),
    ];
    for key in &unusable {
        assert_eq!(set(std::slice::from_ref(key)).len(), 0, "{key}");
    }
    let usable = [
        rsa(2048, f4, r#","use":"sig","key_ops":["verify"]"#),
        rsa(2048, &[0, 3], ""),
        rsa(8192, f4, r#","alg":"PS512""#),
        ed25519(r#","alg":"Ed25519","x5c":["ignored"]"#).1,
    ];
    assert_eq!(set(&[&unusable[..], &usable[..]].concat()).len(), usable.len());
}

#[test]
fn a_key_that_is_left_out_says_which_it_is_and_why() {
    let f4 = &[1, 0, 1];
    let why = |key: &str| {
        let LeftOut { kid, why } = set(&[key.to_owned()]).left_out()[0].clone();
        let (Unusable::Other(cause) | Unusable::Broken(cause)) = why;
        (kid, matches!(why, Unusable::Broken(_)), cause)
    };
    let ec = |crv: &str, length: usize| {
        format!(r#"{{"kid":"k","kty":"EC","crv":"{crv}","x":"{0}","y":"{0}"}}"#, text(&vec![1; length]))
    };
    for (key, broken, named) in [
        (r#"{"kid":"k","kty":"oct","k":"c2VjcmV0"}"#.to_owned(), false, "kty"),
        (r#"{"kid":"k"}"#.to_owned(), true, "no kty"),
        (r#"{"kid":"k","kty":7}"#.to_owned(), true, "kty is not"),
        (rsa(1024, f4, r#","kid":"k""#), true, "n and e"),
        (rsa(2048, f4, r#","kid":"k","use":"enc""#), false, "use"),
        (rsa(2048, f4, r#","kid":"k","alg":"RSA-OAEP""#), false, "alg"),
        (rsa(2048, f4, r#","kid":"k","alg":"ES256""#), true, "alg"),
        (rsa(2048, f4, r#","kid":"k","key_ops":["encrypt"]"#), false, "key_ops"),
        (rsa(2048, f4, r#","kid":"k","key_ops":"verify""#), true, "key_ops"),
        (rsa(2048, f4, r#","kid":"k","d":"AQAB""#), true, "private half"),
        (ec("P-521", 66), false, "crv"),
        (ec("P-256", 33), true, "x and y"),
        (ec("P-256", 32), true, "point"),
    ] {
        let (kid, is_broken, cause) = why(&key);
        assert_eq!((kid.as_deref(), is_broken), (Some("k"), broken), "{cause}: {key}");
        assert!(cause.contains(named), "{cause}: {key}");
    }
    assert_eq!(why("7").0, None);
    let long = rsa(1024, f4, &format!(r#","kid":"{}""#, "k".repeat(1000)));
    assert_eq!(why(&long).0.unwrap().len(), 64);
}

/// What widely used software publishes, though the RFCs say otherwise.
#[test]
fn what_cannot_be_misread_is_taken_as_it_was_meant() {
    let f4 = &[1, 0, 1];
    let n = vec![0xfb; 256];
    let standard = base64::engine::general_purpose::STANDARD;
    for key in [
        rsa(2048, f4, r#","use":"","key_ops":[],"alg":"","kid":"" "#),
        rsa(2048, f4, r#","use":null,"key_ops":null,"alg":null,"kid":null"#),
        format!(r#"{{"kty":"RSA","n":"{}==","e":"AQAB="}}"#, text(&n)),
        format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, standard.encode(&n), standard.encode(f4)),
    ] {
        assert_eq!(set(std::slice::from_ref(&key)).len(), 1, "{key}");
    }
    let full = p256_with_short_x();
    let (x, y) = full[1..].split_at(32);
    let jwk =
        |x: &[u8], y: &[u8]| format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, text(x), text(y));
    let whole = set(&[jwk(x, y)]);
    assert_eq!(whole.len(), 1);
    for odd in [jwk(&x[1..], y), jwk(&[&[0], x].concat(), &[&[0, 0], y].concat())] {
        assert_eq!(set(&[odd]), whole);
    }
}

/// A P-256 key whose x begins with a zero byte: every 256th key does.
fn p256_with_short_x() -> Vec<u8> {
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING as P256, EcdsaKeyPair};
    #[expect(clippy::disallowed_methods, reason = "test keys need no seed of ours")]
    let random = ring::rand::SystemRandom::new();
    loop {
        let document = EcdsaKeyPair::generate_pkcs8(&P256, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&P256, document.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        if point[1] == 0 {
            return point.to_vec();
        }
    }
}

#[test]
fn refuses_what_is_no_set_or_too_large_a_one() {
    for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]} x"#, "<html>"] {
        assert_eq!(KeySet::parse(document.as_bytes()), Err(BadJwks::NotASet), "{document}");
    }
    let many = |count| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; count].join(","));
    assert_eq!(KeySet::parse(many(129).as_bytes()), Err(BadJwks::TooMany));
    assert_eq!(KeySet::parse(many(128).as_bytes()).map(|set| set.len()), Ok(0));
}

#[test]
fn finds_by_kid_and_by_algorithm() {
    let f4 = &[1, 0, 1];
    let keys = set(&[
        rsa(2048, f4, r#","kid":"any""#),
        rsa(2048, f4, r#","kid":"pinned","alg":"RS256""#),
        ed25519(r#","kid":"ed""#).1,
    ]);
    let find = |kid, algorithm| match keys.find(kid, algorithm) {
        Found::Keys(keys) => format!("{}", keys.len()),
        other => format!("{other:?}"),
    };
    assert_eq!(find(Some("any"), ProofAlgorithm::Ps384), "1");
    assert_eq!(find(Some("pinned"), ProofAlgorithm::Rs256), "1");
    assert_eq!(find(Some("pinned"), ProofAlgorithm::Ps256), "WrongAlgorithm");
    assert_eq!(find(Some("ed"), ProofAlgorithm::Es256), "WrongAlgorithm");
    assert_eq!(find(Some("ED"), ProofAlgorithm::EdDsa), "Unknown");
    assert_eq!(find(None, ProofAlgorithm::EdDsa), "1");
    assert_eq!(find(None, ProofAlgorithm::Rs256), "Ambiguous");
    assert_eq!(find(None, ProofAlgorithm::Rs384), "1");
    assert_eq!(find(None, ProofAlgorithm::Es384), "Unknown");
}

#[test]
fn verifies_its_own_signatures_alone() {
    let (pair, jwk) = ed25519("");
    let keys = set(&[jwk]);
    let key = &keys.keys[0];
    let signature = pair.sign(b"message");
    assert!(key.verifies(ProofAlgorithm::EdDsa, b"message", signature.as_ref()));
    assert!(!key.verifies(ProofAlgorithm::EdDsa, b"massage", signature.as_ref()));
    assert!(!key.verifies(ProofAlgorithm::EdDsa, b"message", &[0; 64]));
    assert!(!key.verifies(ProofAlgorithm::EdDsa, b"message", b""));
    for algorithm in ProofAlgorithm::ALL.iter().filter(|algorithm| **algorithm != ProofAlgorithm::EdDsa) {
        assert!(!key.verifies(*algorithm, b"message", signature.as_ref()), "{algorithm:?}");
    }
}

/// ring generates no fixed ECDSA keys, so this one is made anew each time.
#[test]
fn a_registered_key_is_a_point_of_its_curve() {
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    #[expect(clippy::disallowed_methods, reason = "a key of this test")]
    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = PublicKey { kty: "EC".into(), crv: "P-256".into(), x: text(x), y: Some(text(y)) };
    let signature = pair.sign(&random, b"message").unwrap();
    let registered = VerificationKey::registered(&key).unwrap();
    assert!(registered.verifies(ProofAlgorithm::Es256, b"message", signature.as_ref()));

    let elsewhere = PublicKey { y: Some(text(&[3; 32])), ..key.clone() };
    let registered = VerificationKey::registered(&elsewhere).unwrap();
    assert!(!registered.verifies(ProofAlgorithm::Es256, b"message", signature.as_ref()));
    assert_eq!(VerificationKey::registered(&PublicKey { y: None, ..key.clone() }), None);
    assert_eq!(VerificationKey::registered(&PublicKey { kty: "OKP".into(), ..key.clone() }), None);
    assert_eq!(VerificationKey::registered(&PublicKey { crv: "P-384".into(), ..key }), None);
}

#[test]
fn nobodys_keys_are_good_ones() {
    use ProofAlgorithm::*;
    for algorithm in [Es256, Es384, EdDsa] {
        let key = VerificationKey::nobodys(algorithm).unwrap();
        assert!(key.fits(algorithm) && key.material.check().is_ok(), "{algorithm:?}");
    }
    assert!(VerificationKey::nobodys(Rs256).is_none());
}
