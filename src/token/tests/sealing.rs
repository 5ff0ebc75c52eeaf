//! Keys at rest: what a thief of the database, or one who can write to it, gets of them.

use super::*;

fn kek_of(byte: &str) -> KeyEncryptionKey {
    KeyEncryptionKey::from_text(&byte.repeat(32)).unwrap()
}

fn reopen(records: Vec<SealedKey>, kek: KeyEncryptionKey) -> Result<(KeyRing, Vec<SealedKey>), KeyError> {
    KeyRing::open(settings(SigningAlgorithm::Es256), kek, records, random(), NOW)
}

#[test]
fn a_ring_is_the_same_after_a_restart() {
    let (first, records) = reopen(Vec::new(), kek()).unwrap();
    assert_eq!(records.len(), 2, "a token key and the checkpoint key");
    let token = released(first.sign(&claims(), NOW));
    let (again, made) = reopen(records, kek()).unwrap();
    assert!(made.is_empty());
    assert_eq!(again.jwks(), first.jwks());
    assert_eq!(again.verify(token.expose(), ISSUER, NOW), Ok(Arc::new(claims())));
    let public =
        |ring: &KeyRing| ring::signature::KeyPair::public_key(ring.checkpoint_key()).as_ref().to_vec();
    assert_eq!(public(&again), public(&first));
}

#[test]
fn another_key_encryption_key_opens_nothing_and_the_error_says_what_to_give() {
    let (_, records) = reopen(Vec::new(), kek()).unwrap();
    let error = reopen(records, kek_of("5b")).unwrap_err();
    assert!(matches!(error, KeyError::Unseal { .. }));
    assert!(error.to_string().contains("store.key_encryption_key_file"), "{error}");
}

#[test]
fn a_changed_record_is_refused() {
    let (_, records) = reopen(Vec::new(), kek()).unwrap();
    let other = reopen(Vec::new(), kek()).unwrap().1;
    type Change = fn(&mut SealedKey, &SealedKey);
    let changes: [(&str, Change); 9] = [
        ("kid", |record, other| record.kid = other.kid.clone()),
        ("purpose", |record, _| {
            record.purpose = match record.purpose {
                KeyPurpose::Token => KeyPurpose::Checkpoint,
                KeyPurpose::Checkpoint => KeyPurpose::Token,
            }
        }),
        ("algorithm", |record, _| record.algorithm = SigningAlgorithm::Rs256),
        ("created", |record, _| record.created = NOW + Duration::from_millis(1)),
        ("signs_from", |record, _| record.signs_from = NOW - Duration::from_millis(1)),
        ("sealed of another", |record, other| record.sealed = other.sealed.clone()),
        ("cut", |record, _| record.sealed.truncate(11)),
        ("empty", |record, _| record.sealed.clear()),
        ("longer", |record, _| record.sealed.push(0)),
    ];
    for (n, record) in records.iter().enumerate() {
        for (what, change) in changes {
            let mut changed = records.clone();
            change(&mut changed[n], &other[n]);
            let error = reopen(changed, kek()).unwrap_err();
            assert!(matches!(error, KeyError::Unseal { .. }), "{what}: {error}");
        }
        for at in 0..record.sealed.len() {
            let mut changed = records.clone();
            changed[n].sealed[at] ^= 1;
            assert!(reopen(changed, kek()).is_err(), "byte {at}");
        }
    }
}

/// One who knows the key-encryption key may seal a key under a name that is not its own.
#[test]
fn a_record_that_names_another_key_is_refused() {
    let random = random();
    let (_, p256) = key::generate_p256(&random).unwrap();
    let (other, ed25519) = key::generate_ed25519(&random).unwrap();
    let (_, another) = key::generate_ed25519(&random).unwrap();
    for (purpose, algorithm, secret) in [
        (KeyPurpose::Token, SigningAlgorithm::Es256, &p256),
        (KeyPurpose::Token, SigningAlgorithm::Es256, &ed25519),
        (KeyPurpose::Token, SigningAlgorithm::EdDsa, &another),
        (KeyPurpose::Token, SigningAlgorithm::Rs256, &p256),
        (KeyPurpose::Checkpoint, SigningAlgorithm::EdDsa, &another),
        (KeyPurpose::Checkpoint, SigningAlgorithm::EdDsa, &p256),
    ] {
        let (created, signs_from) = (NOW, NOW);
        let mut record =
            SealedKey { kid: other.clone(), purpose, algorithm, created, signs_from, sealed: Vec::new() };
        kek().seal(&mut record, secret, &random).unwrap();
        assert_eq!(reopen(vec![record], kek()).unwrap_err(), KeyError::Mismatch { kid: other.clone() });
    }
}

#[test]
fn nothing_of_the_key_is_in_its_record_and_no_nonce_repeats() {
    let random = random();
    let (kid, pkcs8) = key::generate_p256(&random).unwrap();
    let seal = || {
        let mut record = SealedKey {
            kid: kid.clone(),
            purpose: KeyPurpose::Token,
            algorithm: SigningAlgorithm::Es256,
            created: NOW,
            signs_from: NOW,
            sealed: Vec::new(),
        };
        kek().seal(&mut record, &pkcs8, &random).unwrap();
        record
    };
    let (a, b) = (seal(), seal());
    assert_eq!(a.sealed.len(), 12 + pkcs8.len() + 16);
    assert_ne!(a.sealed[..12], b.sealed[..12]);
    assert!(!a.sealed.windows(8).any(|window| pkcs8.windows(8).any(|secret| secret == window)));
    assert_eq!(kek().unseal(&a).as_deref(), Some(&*pkcs8));
}

#[test]
fn a_key_encryption_key_is_hex_or_base64url_of_32_bytes() {
    use secrecy::ExposeSecret;
    let text = kek().to_text();
    let text = text.expose_secret();
    assert_eq!((text.len(), text), (43, "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"));
    for same in [text.to_owned(), format!("{text}=\n"), "5A".repeat(32), format!(" {}\r\n", "5a".repeat(32))]
    {
        let again = KeyEncryptionKey::from_text(&same).unwrap();
        assert_eq!(again.to_text().expose_secret(), text);
    }
    let generated = KeyEncryptionKey::generate(&random()).unwrap().to_text();
    assert_ne!(generated.expose_secret(), text);
    for (wrong, expected) in [
        ("".to_owned(), InvalidKeyEncryptionKey::Empty),
        ("\n".to_owned(), InvalidKeyEncryptionKey::Empty),
        ("5a".repeat(31), InvalidKeyEncryptionKey::Length(62)),
        ("hunter2-hunter2".to_owned(), InvalidKeyEncryptionKey::Length(15)),
        ("zz".repeat(32), InvalidKeyEncryptionKey::Encoding),
        (text.replace('W', "+"), InvalidKeyEncryptionKey::Encoding),
        ("é".repeat(32), InvalidKeyEncryptionKey::Encoding),
    ] {
        let error = KeyEncryptionKey::from_text(&wrong).unwrap_err();
        assert_eq!(error, expected, "{wrong}");
        assert!(wrong.trim().is_empty() || !error.to_string().contains(wrong.trim()), "{error}");
    }
}
