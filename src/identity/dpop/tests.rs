//! The limits of time, the endpoint's spellings, nonces and what makes a proof single. The checks as
//! attacks on a broker are in `tests/it/dpop.rs`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::domain::random::Random;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_250);

fn endpoint(nonces: Option<Nonces>) -> Dpop {
    Dpop::new("https://hallpass.test/oauth/token".parse().unwrap(), nonces)
}

#[expect(clippy::disallowed_methods, reason = "any randomness will do")]
fn nonces() -> Nonces {
    Nonces::new(&Random::new(ring::rand::SystemRandom::new())).unwrap()
}

fn claims() -> Value {
    json!({"jti": "j", "htm": "POST", "htu": "https://hallpass.test/oauth/token", "iat": NOW.seconds()})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn sign(seed: u8, claims: &Value) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}});
    let signed = [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
}

fn reason(claims: &Value, now: Timestamp) -> Option<Reason> {
    endpoint(None).verify(&sign(1, claims), now).err().map(|error| error.reason)
}

/// The example of RFC 9449 §4.2 and §6.1: its proof, and the thumbprint that the RFC gives for its key.
#[test]
fn the_rfcs_own_proof_is_good_in_its_own_minute() {
    let proof = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0",
        "RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAt",
        "MjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3R",
        "va2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfb",
        "V37xRZT3Lg",
    );
    let dpop = Dpop::new("https://server.example.com/token".parse().unwrap(), None);
    let (cnf, once) = dpop.verify(proof, Timestamp::from_seconds(1_562_262_616)).unwrap();
    let Confirmation::Jkt(jkt) = cnf else { panic!("{cnf:?}") };
    assert_eq!(jkt.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(once.until, Timestamp::from_seconds(1_562_262_616 + 70));
}

#[test]
fn a_proof_is_good_for_60_seconds_and_10_ahead() {
    let iat = Timestamp::from_seconds(NOW.seconds());
    let just = Duration::from_millis(1);
    for (now, good) in [
        (iat + MAX_AGE, true),
        (iat + MAX_AGE + just, false),
        (iat - CLOCK_SKEW, true),
        (iat - CLOCK_SKEW - just, false),
    ] {
        assert_eq!(reason(&claims(), now).is_none(), good, "{now}");
    }
    let (_, once) = endpoint(None).verify(&sign(1, &claims()), NOW).unwrap();
    assert!(once.until > iat + MAX_AGE, "the record outlives the proof");
}

#[test]
fn iat_may_have_a_fraction() {
    let iat = with("iat", json!(1_795_000_000.75));
    let (_, once) = endpoint(None).verify(&sign(1, &iat), NOW).unwrap();
    assert_eq!(once.until, Timestamp::from_millis(1_795_000_070_750));
}

#[test]
fn exp_and_nbf_hold_where_they_are_there() {
    for (name, offset, good) in
        [("exp", -9, true), ("exp", -10, false), ("nbf", 10, true), ("nbf", 11, false)]
    {
        let claims = with(name, json!(NOW.seconds() + offset));
        assert_eq!(reason(&claims, NOW).is_none(), good, "{name} {offset}");
    }
}

#[test]
fn the_endpoint_has_few_spellings() {
    for htu in [
        "https://hallpass.test/oauth/token",
        "HTTPS://HallPass.TEST:443/oauth/token",
        "https://hallpass.test/oauth/token?a=b",
        "https://hallpass.test/oauth/token#f",
        "https://hallpass.test/x/../oauth/token",
    ] {
        assert_eq!(reason(&with("htu", json!(htu)), NOW), None, "{htu}");
    }
    for htu in [
        "",
        "/oauth/token",
        "hallpass.test/oauth/token",
        "http://hallpass.test/oauth/token",
        "https://hallpass.test:8443/oauth/token",
        "https://hallpass.test./oauth/token",
        "https://hallpass.test.evil.example/oauth/token",
        "https://evil.example/oauth/token",
        "https://evil.example/?https://hallpass.test/oauth/token",
        "https://user@hallpass.test/oauth/token",
        "https://user:pw@hallpass.test/oauth/token",
        "https://hallpass.test@evil.example/oauth/token",
        "https://hallpass.test/oauth/token/",
        "https://hallpass.test/OAuth/token",
        "https://hallpass.test/oauth/introspect",
        "https://hallpass.test//oauth/token",
        "https://hallpass.test\\oauth\\token",
        "https:///hallpass.test/oauth/token",
        "https:hallpass.test/oauth/token",
        "https:/hallpass.test/oauth/token",
        " https://hallpass.test/oauth/token",
        "https://hallpass.test/oauth/token\n",
        "https://hall\tpass.test/oauth/token",
        "https://h\u{430}llpass.test/oauth/token",
    ] {
        assert_eq!(reason(&with("htu", json!(htu)), NOW), Some(Reason::DpopProofInvalid), "{htu:?}");
    }
}

#[test]
fn a_loopback_broker_has_its_port_in_htu() {
    let dpop = Dpop::new("http://127.0.0.1:8700/oauth/token".parse().unwrap(), None);
    let good = with("htu", json!("http://127.0.0.1:8700/oauth/token"));
    let bad = with("htu", json!("http://127.0.0.1/oauth/token"));
    assert!(dpop.verify(&sign(1, &good), NOW).is_ok());
    assert!(dpop.verify(&sign(1, &bad), NOW).is_err());
}

#[test]
fn what_makes_a_proof_single_is_its_key_and_its_jti() {
    let once =
        |seed, jti: &str| endpoint(None).verify(&sign(seed, &with("jti", json!(jti))), NOW).unwrap().1.key;
    assert_eq!(once(1, "a"), once(1, "a"));
    assert_ne!(once(1, "a"), once(1, "b"));
    assert_ne!(once(1, "a"), once(2, "a"), "two agents may hit upon one jti");
}

#[test]
fn a_nonce_is_good_in_its_window_and_the_next() {
    let dpop = endpoint(Some(nonces()));
    let at = |seconds: i64| Timestamp::from_seconds(1_795_000_020 + seconds);
    let check = |nonce: Value, now: Timestamp| {
        let mut claims = with("nonce", nonce);
        claims["iat"] = json!(now.seconds());
        dpop.verify(&sign(1, &claims), now).map(drop).map_err(|error| error.reason)
    };
    let given = dpop.nonce(at(0)).unwrap();
    assert_eq!(dpop.nonce(at(59)).unwrap(), given);
    assert_ne!(dpop.nonce(at(60)).unwrap(), given);
    for (seconds, expected) in [(0, Ok(())), (119, Ok(())), (120, Err(Reason::DpopNonceRequired))] {
        assert_eq!(check(json!(given), at(seconds)), expected, "{seconds}");
    }
    let other = endpoint(Some(nonces())).nonce(at(0)).unwrap();
    for (nonce, reason) in [
        (json!(other), Reason::DpopNonceRequired),
        (json!(""), Reason::DpopNonceRequired),
        (json!(&given[1..]), Reason::DpopNonceRequired),
        (json!(format!("{given}A")), Reason::DpopNonceRequired),
        (json!(7), Reason::DpopProofInvalid),
        (json!([given]), Reason::DpopProofInvalid),
    ] {
        assert_eq!(check(nonce.clone(), at(0)), Err(reason), "{nonce}");
    }
    // A proof that is wrong besides is told that, and not to come back with a nonce.
    let wrong = with("htm", json!("GET"));
    assert_eq!(dpop.verify(&sign(1, &wrong), NOW).unwrap_err().reason, Reason::DpopProofInvalid);
    assert_eq!(dpop.verify(&sign(1, &claims()), NOW).unwrap_err().reason, Reason::DpopNonceRequired);
}

#[test]
fn an_error_repeats_nothing_of_the_proof() {
    let canary = "s3cr3t-canary";
    for claims in [
        with("htm", json!(canary)),
        with("htu", json!(canary)),
        with("iat", json!(canary)),
        with("jti", json!([canary])),
        with("nonce", json!([canary])),
    ] {
        let error = endpoint(Some(nonces())).verify(&sign(1, &claims), NOW).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[A-Za-z0-9_.=-]{0,80}", htu in ".{0,40}", jti in ".{0,20}") {
        let _ = endpoint(None).verify(&text, NOW);
        let mut claims = with("htu", json!(htu));
        claims["jti"] = json!(jti);
        let _ = endpoint(None).verify(&sign(1, &claims), NOW);
    }
}

/// A key of small order, for which `sign` needs no private key: R is the neutral point and S is zero.
#[test]
fn a_key_that_anybody_signs_for_is_no_key() {
    let (mut neutral, mut other) = ([0; 32], [0; 32]);
    (neutral[0], other[0], other[31]) = (1, 1, 0x80);
    let forged = |x: [u8; 32]| {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x)});
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk});
        let signed =
            [header.to_string(), claims().to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([neutral, [0; 32]].concat()))
    };
    // The second is the same point, in a spelling that has a thumbprint of its own.
    for x in [neutral, other] {
        let error = endpoint(None).verify(&forged(x), NOW).unwrap_err();
        assert!(error.detail.contains("jwk is not a public key"), "{error:?}");
    }
}
