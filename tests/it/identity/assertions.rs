//! Client assertions: whose they are, and that they can be used once.

use std::time::Duration;

use hallpass::domain::digest::Digest;
use hallpass::domain::key::PublicKey;
use hallpass::domain::reason::Reason;
use hallpass::domain::time::Timestamp;
use hallpass::identity::{ProofError, SingleUse, UnverifiedAssertion};
use serde_json::{Value, json};

use super::{Bench, START, US};
use crate::support::signer::Signer;

fn registered(signer: &Signer) -> PublicKey {
    serde_json::from_value(signer.public_jwk()).unwrap()
}

fn claims(jti: &str) -> Value {
    json!({"iss": "a1", "sub": "a1", "aud": US, "iat": START, "exp": START + 60, "jti": jti})
}

fn single_use(signer: &Signer, jti: &str) -> Result<SingleUse, ProofError> {
    let bench = Bench::with(Vec::new());
    let text = signer.token(&claims(jti));
    let assertion = UnverifiedAssertion::parse(&text)?;
    Ok(bench.authenticator.assertion(&assertion, &[&registered(signer)], 1)?.1)
}

#[test]
fn the_key_that_signed_is_the_identity() {
    let bench = Bench::with(Vec::new());
    let signers = [Signer::es256("1"), Signer::ed25519("2"), Signer::es256("3")];
    let keys: Vec<PublicKey> = signers.iter().map(registered).collect();
    let all: Vec<&PublicKey> = keys.iter().collect();
    for (signer, key) in signers.iter().zip(&keys) {
        let text = signer.token(&claims("j"));
        let assertion = UnverifiedAssertion::parse(&text).unwrap();
        assert_eq!(assertion.agent().as_str(), "a1");
        let (identity, _) = bench.authenticator.assertion(&assertion, &all, 1).unwrap();
        assert_eq!(identity.workload().to_string(), format!("key|{}", key.thumbprint()));
        assert_eq!(identity.expires, Timestamp::from_seconds(START + 60));
        let others: Vec<&PublicKey> = all.iter().copied().filter(|other| *other != key).collect();
        assert!(bench.authenticator.assertion(&assertion, &others, 1).is_err());
        let none = bench.authenticator.assertion(&assertion, &[], 1).unwrap_err();
        assert_eq!(none.reason, Reason::SignatureInvalid);
    }
}

#[test]
fn its_record_outlives_it_and_is_its_own() {
    let signer = Signer::es256("k");
    let record = single_use(&signer, "j").unwrap();
    assert_eq!(record.key, Digest::of(b"a1\0j"));
    // Recorded until it is refused for its age: not a millisecond less.
    let bench = Bench::with(Vec::new());
    let text = signer.token(&claims("j"));
    let assertion = UnverifiedAssertion::parse(&text).unwrap();
    let verdict = |seconds: i64| {
        bench.hands.forward(seconds - bench.hands.now());
        bench
            .authenticator
            .assertion(&assertion, &[&registered(&signer)], 1)
            .map(|_| ())
            .map_err(|e| e.reason)
    };
    assert_eq!(record.until, Timestamp::from_seconds(START + 60) + Duration::from_secs(30));
    assert_eq!(verdict(record.until.seconds() - 1), Ok(()));
    assert_eq!(verdict(record.until.seconds()), Err(Reason::Expired));
    assert_eq!(single_use(&signer, "j").unwrap().key, record.key);
    assert_ne!(single_use(&signer, "k").unwrap().key, record.key);
}
