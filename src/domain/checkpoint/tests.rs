use proptest::prelude::*;

use super::*;

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn verifier(name: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(name, key(seed).public_key().as_ref().try_into().unwrap()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "hallpass.acme.internal".into(), size: 20_852_163, root: Digest::of(b"root") }
}

/// The verifier key and the note of the C2SP signed-note specification's own implementation
/// (golang.org/x/mod/sumdb/note), whose format this is.
#[test]
fn a_published_verifier_key_reads_and_prints() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!(key.name(), "PeterNeumann");
    assert_eq!(key.to_string(), text);
}

#[test]
fn a_published_note_verifies_up_to_its_body() {
    let key: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let body = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    let line = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    assert_eq!(signature_holds(line, body, &key), Ok(true));
    assert_eq!(signature_holds(line, "other\n", &key), Err(CheckpointError::BadSignature));
}

#[test]
fn a_note_is_three_lines_an_empty_one_and_a_signature() {
    let note = checkpoint().sign(&key(1));
    let lines: Vec<&str> = note.split('\n').collect();
    let root = STANDARD.encode(checkpoint().root.0);
    assert_eq!(lines[..4], ["hallpass.acme.internal", "20852163", root.as_str(), ""]);
    assert!(lines[4].starts_with("— hallpass.acme.internal "));
    assert_eq!(lines[5..], [""]);
    assert_eq!(verify(&note, &verifier("hallpass.acme.internal", 1)), Ok(checkpoint()));
}

#[test]
fn signatures_of_other_keys_are_skipped_and_do_not_count() {
    let mine = checkpoint().sign(&key(1));
    let (_, other) =
        checkpoint().sign(&key(2)).split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let both = format!("{mine}{other}");
    assert_eq!(verify(&both, &verifier("hallpass.acme.internal", 1)), Ok(checkpoint()));
    assert_eq!(verify(&both, &verifier("hallpass.acme.internal", 2)), Ok(checkpoint()));
    let third = verifier("hallpass.acme.internal", 3);
    assert_eq!(verify(&both, &third), Err(CheckpointError::NotSigned(third.to_string())));
}

#[test]
fn every_other_spelling_is_refused() {
    let note = checkpoint().sign(&key(1));
    let verifier = verifier("hallpass.acme.internal", 1);
    let mut wrong = vec![
        String::new(),
        "\n\n".into(),
        note.replace("20852163", "020852163"),
        note.replace("20852163", "+20852163"),
        note.replace("20852163", "20852164"),
        note.replace("20852163\n", "20852163\r\n"),
        note.replace("\n\n", "\nextension\n\n"),
        note.replace("\n\n", "\n"),
        note.replace("\n— ", "\n- "),
        note.trim_end().to_owned(),
        format!("{note}\n"),
        format!("{note}trailing"),
        format!("\n{note}"),
        note.replace("hallpass.acme", "hallpass.evil"),
        note.repeat(2),
        note.repeat(1000),
    ];
    // Base64 with a bit that decoders like to ignore.
    wrong.push(note.replace("=\n\n", "\n\n"));
    for text in wrong {
        assert!(verify(&text, &verifier).is_err(), "{text:?}");
    }
}

#[test]
fn a_signed_body_of_another_form_is_refused() {
    let signer = key(1);
    let name = "hallpass.acme.internal";
    for body in ["a b\n1\nAAAA\n", "hallpass.acme.internal\n1\n\n", "hallpass.acme.internal\n1\nAAAA\n"] {
        let mut signed = key_id(name, signer.public_key().as_ref()).to_vec();
        signed.extend_from_slice(signer.sign(body.as_bytes()).as_ref());
        let note = format!("{body}\n— {name} {}\n", STANDARD.encode(signed));
        assert!(matches!(verify(&note, &verifier(name, 1)), Err(CheckpointError::Malformed(_))), "{body:?}");
    }
}

#[test]
fn verifier_keys_of_another_form_are_refused() {
    let good = verifier("log", 1).to_string();
    let other = verifier("log", 2).to_string();
    let (_, id) = good.split_once('+').unwrap();
    for text in [
        "",
        "log",
        "log+1+2",
        &format!("gol+{id}"),
        &format!("+{id}"),
        &good.to_uppercase(),
        &format!("{}{}", &good[..12], &other[12..]),
        &good[..good.len() - 4],
        &format!("{good}AAAA"),
    ] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
    assert!(VerifierKey::new("a b", [0; 32]).is_err());
}

proptest! {
    #[test]
    fn what_is_signed_is_what_is_read(
        origin in "[a-z][a-z0-9./:-]{0,40}", size: u64, root: [u8; 32], seed: u8,
    ) {
        let checkpoint = Checkpoint { origin: origin.clone(), size, root: Digest(root) };
        let key_text = verifier(&origin, seed).to_string();
        prop_assert_eq!(verify(&checkpoint.sign(&key(seed)), &key_text.parse().unwrap()), Ok(checkpoint));
    }

    #[test]
    fn no_changed_byte_passes(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let note = checkpoint().sign(&key(1));
        let mut bytes = note.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(verify(&changed, &verifier("hallpass.acme.internal", 1)).is_err());
        }
    }
}
