//! What is signed, and that others can verify it with the published keys alone.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::*;

const ALGORITHMS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa, SigningAlgorithm::Rs256];

/// Verifies as a resource server would that knows nothing but the JWK set.
fn verifies_by(jwks: &str, token: &str) -> bool {
    let jwks: serde_json::Value = serde_json::from_str(jwks).unwrap();
    let header: serde_json::Value = serde_json::from_str(&part(token, 0)).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["alg"], &key["use"]), (&header["alg"], &"sig".into()));
    let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    match (key["kty"].as_str().unwrap(), header["alg"].as_str().unwrap()) {
        ("EC", "ES256") => {
            assert_eq!(key["crv"], "P-256");
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &signature)
        }
        ("OKP", "EdDSA") => {
            assert_eq!(key["crv"], "Ed25519");
            UnparsedPublicKey::new(&ED25519, member("x")).verify(message.as_bytes(), &signature)
        }
        ("RSA", "RS256") => RsaPublicKeyComponents { n: member("n"), e: member("e") }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            message.as_bytes(),
            &signature,
        ),
        other => panic!("{other:?}"),
    }
    .is_ok()
}

#[test]
fn every_algorithm_verifies_here_and_by_the_published_keys_alone() {
    for algorithm in ALGORITHMS {
        let ring = open(algorithm);
        let token = released(ring.sign(&claims(), NOW));
        assert_eq!(ring.verify(token.expose(), ISSUER, NOW), Ok(Arc::new(claims())), "{algorithm}");
        assert!(verifies_by(&ring.jwks(), token.expose()), "{algorithm}");
        assert_eq!(token.sha256(), crate::domain::digest::Digest::of(token.expose().as_bytes()));
        assert_eq!(ring.algorithms().into_iter().collect::<Vec<_>>(), [algorithm]);
        assert_eq!(ring.signing_kid(NOW), Some(kid_of(token.expose())));
    }
}

#[test]
fn a_token_is_the_designs() {
    let ring = open(SigningAlgorithm::Es256);
    let token = released(ring.sign(&claims(), NOW));
    let kid = ring.signing_kid(NOW).unwrap();
    insta::assert_snapshot!(part(token.expose(), 0).replace(&kid, "KID"), @r#"{"typ":"at+jwt","alg":"ES256","kid":"KID"}"#);
    insta::assert_snapshot!(part(token.expose(), 1), @r#"{"iss":"https://hallpass.acme.internal","sub":"agent:payments-refactorer","client_id":"payments-refactorer","aud":["https://github.com","https://ledger.staging.acme.internal"],"iat":1795000000,"nbf":1795000000,"exp":1795000600,"jti":"01a1ee56-5e00-7707-8707-070707070707","owner":"team-payments","as_of":4711,"scope":"payments:read payments:push ledger:GET","authorization_details":[{"type":"git_repository","identifier":"payments","locations":["https://github.com/acme/payments"],"actions":["read","push"],"refs":["refs/heads/agent/*"],"environment":"staging"},{"type":"http_endpoint","identifier":"ledger","locations":["https://ledger.staging.acme.internal"],"actions":["GET"],"paths":["/v1/entries/**"],"environment":"staging"}],"registry":"sha256:00ff","workload":"github|repo:acme@77/payments@456789:ref:refs/heads/main"}"#);
}

#[test]
fn the_published_keys_hold_no_private_member_and_no_checkpoint_key() {
    for algorithm in ALGORITHMS {
        let jwks: serde_json::Value = serde_json::from_str(&open(algorithm).jwks()).unwrap();
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1);
        for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(keys[0].get(member).is_none(), "{algorithm} {member}");
        }
    }
}

/// RFC 8037 §A.3 and RFC 7638 §3.1.
#[test]
fn a_kid_is_the_thumbprint() {
    let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    assert_eq!(key::PublicHalf::ed(&x).kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi\
             FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb\
             9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls\
             1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let members = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#);
    let rsa = key::PublicHalf::rsa_members(members.as_bytes()).unwrap();
    assert_eq!(rsa.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_token_lives_from_its_second_to_its_last() {
    let ring = open(SigningAlgorithm::EdDsa);
    let token = released(ring.sign(&claims(), NOW));
    let at = |millis: i64| ring.verify(token.expose(), ISSUER, Timestamp::from_millis(millis)).map(|_| ());
    let (iat, exp) = (claims().iat.seconds() * 1_000, claims().exp.seconds() * 1_000);
    // A node whose clock is 5 s behind takes it, and no other.
    assert_eq!(at(iat - 5_001), Err(TokenError::NotYetValid));
    assert_eq!(at(iat - 5_000), Ok(()));
    assert_eq!(at(iat), Ok(()));
    assert_eq!(at(exp - 1), Ok(()));
    assert_eq!(at(exp), Err(TokenError::Expired), "dead on the second of exp");
}

#[test]
fn the_claims_name_every_level_that_can_kill_the_token() {
    let targets: Vec<String> = claims().levels().targets().iter().map(ToString::to_string).collect();
    let jti = claims().jti;
    assert_eq!(
        targets,
        [
            "everything",
            "issuer:github",
            "owner:team-payments",
            "agent:payments-refactorer",
            &format!("token:{jti}")
        ]
    );
}

#[test]
fn a_token_that_could_not_be_read_or_retired_is_not_made() {
    let ring = open(SigningAlgorithm::EdDsa);
    let mut wide = claims();
    wide.authorization_details = std::iter::repeat_n(wide.authorization_details[0].clone(), 70).collect();
    assert_eq!(ring.sign(&wide, NOW).err(), Some(KeyError::TokenTooLarge));
    let long = claims_at(NOW, HOUR + Duration::from_secs(1));
    assert_eq!(ring.sign(&long, NOW).err(), Some(KeyError::TokenTooLong));
    assert!(ring.sign(&claims_at(NOW, HOUR), NOW).is_ok());
}

#[test]
fn an_rsa_key_is_taken_as_pkcs8_or_pkcs1() {
    let with = |pem: &str| TokenSettings { rsa_key: Some(pem.into()), ..settings(SigningAlgorithm::Rs256) };
    let ring = |pem: &str| KeyRing::open(with(pem), kek(), Vec::new(), random(), NOW).map(|(ring, _)| ring);
    assert_eq!(kids(&ring(RSA).unwrap()), kids(&ring(RSA_PKCS1).unwrap()), "one key, two spellings");
    assert_ne!(kids(&ring(RSA).unwrap()), kids(&ring(RSA_OTHER).unwrap()));
    for (pem, said) in [
        (include_str!("keys/rsa-1024.pem"), "under 2048 bits"),
        (include_str!("keys/rsa-2047.pem"), "under 2048 bits"),
        (include_str!("keys/ec-p256.pem"), "no RSA key"),
        (include_str!("keys/rsa-2048-public.pem"), "no PEM private key"),
        (&RSA_PKCS1.replacen('M', "", 1), "no PEM private key"),
        ("", "no PEM private key"),
        ("not a PEM", "no PEM private key"),
    ] {
        let error = ring(pem).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let missing = TokenSettings { rsa_key: None, ..settings(SigningAlgorithm::Rs256) };
    let missing = KeyRing::open(missing, kek(), Vec::new(), random(), NOW).unwrap_err();
    assert_eq!(missing, KeyError::RsaKeyMissing);
    let unused = TokenSettings { rsa_key: Some(RSA.into()), ..settings(SigningAlgorithm::Es256) };
    let unused = KeyRing::open(unused, kek(), Vec::new(), random(), NOW).unwrap_err();
    assert_eq!(unused, KeyError::RsaKeyUnused(SigningAlgorithm::Es256));
}

#[test]
fn nothing_secret_is_in_any_debug_text() {
    let random = random();
    let kek = kek();
    let texts = [
        format!("{kek:?}"),
        format!("{:?}", kek.to_text()),
        format!("{:?}", settings(SigningAlgorithm::Rs256)),
        format!("{:?}", open(SigningAlgorithm::Rs256)),
        format!("{:?}", open(SigningAlgorithm::Es256)),
        format!("{:?}", open(SigningAlgorithm::EdDsa).checkpoint_key()),
        format!("{random:?}"),
    ];
    let pem_line = RSA.lines().nth(3).unwrap();
    for text in &texts {
        assert!(!text.contains(pem_line) && !text.contains("5a5a") && !text.contains("WlpaWlpa"), "{text}");
        assert!(!text.contains("90, 90"), "{text}");
    }
    let ring = open(SigningAlgorithm::Es256);
    let token = released(ring.sign(&claims(), NOW));
    assert_eq!(format!("{token:?}"), "AccessToken([redacted])");
    let kid = ring.signing_kid(NOW).unwrap();
    assert_eq!(format!("{ring:?}"), format!("KeyRing {{ keys: [Key({kid} ES256 from {NOW})], .. }}"));
}

#[test]
fn a_token_is_opened_by_the_receipt_of_its_own_event_alone() {
    let ring = open(SigningAlgorithm::Es256);
    let token = ring.sign(&claims(), NOW).unwrap();
    let other = crate::domain::digest::Digest::of(b"another");
    assert!(!format!("{token:?}").contains("eyJ"), "its text is not shown either");
    assert!(token.release(&Receipt::of_durable(1, other)).is_none());
}

#[test]
fn ten_thousand_verified_tokens_are_remembered_until_they_are_dead() {
    let ring = open(SigningAlgorithm::EdDsa);
    let claims = claims();
    let distinct = (0..10_000_u64)
        .map(|n| Claims { as_of: crate::domain::revocation::Revision::new(n), ..claims.clone() });
    let tokens: Vec<_> = distinct.map(|claims| released(ring.sign(&claims, NOW))).collect();
    for token in &tokens {
        ring.verify(token.expose(), ISSUER, NOW).unwrap();
    }
    let (count, bytes) = ring.remembered();
    assert_eq!(count, 10_000);
    assert!(bytes < 384 << 20, "{bytes}");
    let first = ring.verify(tokens[0].expose(), ISSUER, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &ring.verify(tokens[0].expose(), ISSUER, NOW).unwrap()));

    ring.forget_dead(NOW);
    assert_eq!(ring.remembered().0, 10_000, "all of them live");
    ring.forget_dead(Timestamp::from(claims.exp));
    assert_eq!(ring.remembered(), (0, 0));
}

#[test]
fn the_memory_of_verified_tokens_is_bounded_in_bytes() {
    let memory = 1 << 20;
    let settings = TokenSettings { verified_memory: memory, ..settings(SigningAlgorithm::EdDsa) };
    let ring = KeyRing::open(settings, kek(), Vec::new(), random(), NOW).unwrap().0;
    for n in 0..2_000 {
        let claims = Claims { as_of: crate::domain::revocation::Revision::new(n), ..claims() };
        let token = released(ring.sign(&claims, NOW));
        ring.verify(token.expose(), ISSUER, NOW).unwrap();
        assert!(ring.remembered().1 <= memory);
    }
    assert!(ring.remembered().0 > 50, "{:?}", ring.remembered());
}
