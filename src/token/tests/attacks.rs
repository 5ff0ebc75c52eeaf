//! Forgeries. Where it is possible the forger holds the right private key, so that nothing but the
//! rule under test can refuse.

use std::time::Duration;

use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use super::*;

/// A ring and the private half of the key that it signs with.
struct Forge {
    ring: KeyRing,
    pair: EcdsaKeyPair,
    kid: String,
    random: Random,
}

impl Forge {
    fn new() -> Self {
        let random = random();
        let (kid, pkcs8) = key::generate_p256(&random).unwrap();
        let record = record(&kid, SigningAlgorithm::Es256, &pkcs8);
        let settings = settings(SigningAlgorithm::Es256);
        let (ring, made) = KeyRing::open(settings, kek(), vec![record], random.clone(), NOW).unwrap();
        assert!(made.iter().all(|made| made.purpose == KeyPurpose::Checkpoint));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, random.source());
        Self { ring, pair: pair.unwrap(), kid, random }
    }

    fn header(&self) -> String {
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, self.kid)
    }

    /// A token of any header and payload with a good signature.
    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.pair.sign(self.random.source(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.ring.verify(token, ISSUER, NOW).map(Arc::unwrap_or_clone)
    }
}

fn record(kid: &str, algorithm: SigningAlgorithm, secret: &[u8]) -> SealedKey {
    let mut record = SealedKey {
        kid: kid.to_owned(),
        purpose: KeyPurpose::Token,
        algorithm,
        created: NOW,
        signs_from: NOW,
        sealed: Vec::new(),
    };
    kek().seal(&mut record, secret, &random()).unwrap();
    record
}

fn payload() -> String {
    serde_json::to_string(&claims()).unwrap()
}

/// The parent's part of a token that `other` handed to this agent; `sub` would have to be `agent:other`.
const PARENT: &str = r#"{"jti":"019a0000-0000-7000-8000-000000000001","client_id":"other","owner":"team-x","workload":"github|x"}"#;

#[test]
fn the_forge_makes_good_tokens() {
    let forge = Forge::new();
    assert_eq!(forge.verify(&forge.sign(&forge.header(), &payload())), Ok(claims()));
}

#[test]
fn any_changed_character_is_refused() {
    let forge = Forge::new();
    let token = released(forge.ring.sign(&claims(), NOW));
    let token = token.expose();
    // Also beside one that is known to be good.
    forge.verify(token).unwrap();
    for at in 0..token.len() {
        for other in ['A', 'b', '.', '=', '+'] {
            let mut changed = token.to_owned();
            changed.replace_range(at..=at, &other.to_string());
            assert!(changed == token || forge.verify(&changed).is_err(), "{at} as {other}");
        }
    }
    // The last character has bits to spare; only one spelling of a signature is taken.
    let (rest, last) = token.split_at(token.len() - 1);
    let spellings = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
    assert_eq!(spellings.filter(|c| forge.verify(&format!("{rest}{c}")).is_ok()).count(), 1, "{last}");
}

#[test]
fn what_was_verified_before_is_judged_anew() {
    let forge = Forge::new();
    let token = released(forge.ring.sign(&claims(), NOW));
    let token = token.expose();
    let (expiry, before) = (claims().exp.into(), Timestamp::from(claims().nbf) - Duration::from_secs(6));
    let ask = |issuer: &str, now| forge.ring.verify(token, issuer, now).map(Arc::unwrap_or_clone);
    for _ in 0..2 {
        assert_eq!(ask(ISSUER, expiry), Err(TokenError::Expired));
        assert_eq!(ask(ISSUER, before), Err(TokenError::NotYetValid));
        assert_eq!(ask("https://other.internal", NOW), Err(TokenError::Issuer));
        assert_eq!(ask(ISSUER, NOW), Ok(claims()));
    }
    // Its key is taken away: nothing that it vouched for counts any more.
    let remove = vec![kid_of(token)];
    forge.ring.adopt(Rotation { remove, ..Rotation::default() }).unwrap();
    assert_eq!(ask(ISSUER, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn what_is_not_three_parts_is_refused() {
    let forge = Forge::new();
    let good = forge.sign(&forge.header(), &payload());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let huge = format!("{message}{}.{signature}", "A".repeat(MAX_TOKEN_LENGTH));
    for (token, expected) in [
        (String::new(), TokenError::Malformed),
        (message.to_owned(), TokenError::Malformed),
        (format!("{message}."), TokenError::Signature),
        (format!("{message}..{signature}"), TokenError::Malformed),
        (format!("{good}.{signature}"), TokenError::Malformed),
        (format!("{header}..{signature}"), TokenError::Signature),
        (format!(".{good}"), TokenError::Malformed),
        (format!(" {good}"), TokenError::UnknownKey),
        (format!("{good}\n"), TokenError::Malformed),
        (format!("{good}="), TokenError::Malformed),
        (huge, TokenError::TooLarge),
    ] {
        assert_eq!(forge.verify(&token), Err(expected), "{token}");
    }
}

/// Each header is signed with the right key: it is the header alone that is refused.
#[test]
fn a_header_chooses_nothing() {
    let forge = Forge::new();
    let kid = &forge.kid;
    for header in [
        format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
        r#"{"typ":"at+jwt","alg":"ES256"}"#.to_owned(),
        r#"{"typ":"at+jwt","alg":"ES256","kid":""}"#.to_owned(),
        format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{kid}"}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{kid}"}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","crit":["exp"]}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","b64":false}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","jku":"https://evil.example/jwks"}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","alg":"none","kid":"{kid}"}}"#),
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","jwk":{{"kty":"oct","k":"AA"}}}}"#),
        format!(r#"{{ "typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#),
        "{}".to_owned(),
        "not json".to_owned(),
    ] {
        let token = forge.sign(&header, &payload());
        assert_eq!(forge.verify(&token), Err(TokenError::UnknownKey), "{header}");
    }
}

#[test]
fn algorithms_are_not_confused() {
    let forge = Forge::new();
    let payload = URL_SAFE_NO_PAD.encode(payload());
    // HMAC keyed with our public key, in the forms in which it is public.
    let jwk = forge.ring.jwks();
    for secret in [forge.pair.public_key().as_ref(), jwk.as_bytes(), forge.kid.as_bytes()] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        for header in [format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{}"}}"#, forge.kid), forge.header()] {
            let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
            let tag = hmac::sign(&key, message.as_bytes());
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert!(forge.verify(&token).is_err());
        }
    }
    // A good header with no signature, or one of zeros (CVE-2022-21449).
    for signature in ["".to_owned(), URL_SAFE_NO_PAD.encode([0; 64]), URL_SAFE_NO_PAD.encode([0xff; 64])] {
        let token = format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(forge.header()));
        assert_eq!(forge.verify(&token), Err(TokenError::Signature));
    }
}

/// Two published keys of two algorithms: neither verifies under the other's name.
#[test]
fn a_key_signs_under_its_own_kid_and_algorithm_alone() {
    let random = random();
    let (ec_kid, ec) = key::generate_p256(&random).unwrap();
    let (ed_kid, ed) = key::generate_ed25519(&random).unwrap();
    let records =
        vec![record(&ec_kid, SigningAlgorithm::Es256, &ec), record(&ed_kid, SigningAlgorithm::EdDsa, &ed)];
    let (ring, _) = KeyRing::open(settings(SigningAlgorithm::Es256), kek(), records, random, NOW).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(&ed).unwrap();
    for (alg, kid, expected) in [
        ("EdDSA", &ed_kid, Ok(claims())),
        ("EdDSA", &ec_kid, Err(TokenError::UnknownKey)),
        ("ES256", &ed_kid, Err(TokenError::UnknownKey)),
        ("ES256", &ec_kid, Err(TokenError::Signature)),
    ] {
        let header = format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{kid}"}}"#);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload()));
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(ed.sign(message.as_bytes())));
        assert_eq!(ring.verify(&token, ISSUER, NOW).map(Arc::unwrap_or_clone), expected, "{alg} {kid}");
    }
}

#[test]
fn another_rings_token_is_not_ours() {
    let (ours, theirs) = (Forge::new(), Forge::new());
    let token = released(theirs.ring.sign(&claims(), NOW));
    assert_eq!(ours.verify(token.expose()), Err(TokenError::UnknownKey));
    // Their signature under our kid.
    assert_eq!(ours.verify(&theirs.sign(&ours.header(), &payload())), Err(TokenError::Signature));
    assert_eq!(
        ours.ring.verify(
            released(ours.ring.sign(&claims(), NOW)).expose(),
            "https://hallpass.acme.internal/",
            NOW
        ),
        Err(TokenError::Issuer)
    );
}

/// Each payload is signed with the right key, under the right header.
#[test]
fn claims_are_read_strictly() {
    let forge = Forge::new();
    let good = payload();
    for (from, to) in [
        (r#""exp":1795000600"#, r#""exp":"1795000600""#),
        (r#""exp":1795000600"#, r#""exp":1795000600.5"#),
        (r#""exp":1795000600"#, r#""exp":1e300"#),
        (r#""exp":1795000600,"#, ""),
        (r#""exp":1795000600"#, r#""exp":null"#),
        (r#""exp":1795000600"#, r#""exp":1795000600,"exp":1795000600"#),
        (r#""nbf":1795000000,"#, ""),
        (r#""nbf":1795000000"#, r#""nbf":"0""#),
        (r#""iat":1795000000"#, r#""iat":"never""#),
        (r#""iss":"https://hallpass.acme.internal","#, ""),
        (r#""iss":"https://hallpass.acme.internal""#, r#""iss":["https://hallpass.acme.internal"]"#),
        (r#"["https://github.com","https://ledger.staging.acme.internal"]"#, r#""https://github.com""#),
        (r#"["https://github.com","https://ledger.staging.acme.internal"]"#, r#"["github.com"]"#),
        (r#""sub":"agent:payments-refactorer""#, r#""sub":"agent:other""#),
        (r#""sub":"agent:payments-refactorer""#, r#""sub":"payments-refactorer""#),
        (r#""client_id":"payments-refactorer""#, r#""client_id":"Payments""#),
        (r#""jti":"#, r#""JTI":"#),
        (r#""workload":"github|"#, r#""workload":""#),
        (r#""workload":"github|"#, r#""workload":"|"#),
        (r#""registry":"#, r#""admin":true,"registry":"#),
        (r#""refs/heads/agent/*""#, r#""refs/**/x""#),
        (r#""environment":"staging""#, r#""limits":[]"#),
        (r#""registry":"#, r#""cnf":null,"registry":"#),
        (r#""registry":"#, r#""cnf":{},"registry":"#),
        (r#""registry":"#, r#""cnf":{"jkt":"short"},"registry":"#),
        (r#""registry":"#, r#""cnf":{"kid":"x"},"registry":"#),
        // A chain that contradicts itself: an actor without a parent, another actor, a parent without an issuer.
        (r#""registry":"#, r#""act":{"sub":"agent:payments-refactorer"},"registry":"#),
        (r#""registry":"#, r#""act":null,"registry":"#),
        (r#""registry":"#, r#""parents":[],"act":{"sub":"agent:a"},"registry":"#),
        (r#""registry":"#, &format!(r#""parents":[{PARENT}],"registry":"#)),
        (r#""registry":"#, &format!(r#""parents":[{PARENT}],"act":{{"sub":"agent:other"}},"registry":"#)),
        (
            r#""registry":"#,
            &format!(r#""parents":[{PARENT}],"act":{{"sub":"agent:payments-refactorer"}},"registry":"#),
        ),
        (r#""registry":"#, &format!(r#""parents":[{}],"registry":"#, PARENT.replace("github|", ""))),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        assert_eq!(
            forge.verify(&forge.sign(&forge.header(), &changed)),
            Err(TokenError::Claims),
            "{from} as {to}"
        );
    }
    for changed in ["", "null", "[]", "{}", &format!("{good}{good}"), &format!("{good}x")] {
        assert_eq!(forge.verify(&forge.sign(&forge.header(), changed)), Err(TokenError::Claims));
    }
}

/// Whatever is sent, the answer is an error and never a panic.
#[test]
fn noise_is_refused() {
    let forge = Forge::new();
    let header = URL_SAFE_NO_PAD.encode(forge.header());
    for n in 0..500 {
        let mut noise = vec![0; n % 97];
        forge.random.source().fill(&mut noise).unwrap();
        let text = String::from_utf8_lossy(&noise).into_owned();
        assert!(forge.verify(&text).is_err());
        assert!(forge.verify(&format!("{header}.{text}.{text}")).is_err());
    }
}
