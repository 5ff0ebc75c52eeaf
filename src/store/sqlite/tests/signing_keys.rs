//! `verify` names a signing key, and a name of the log, that no event tells of.

use super::*;
use crate::domain::signing::{KeyPurpose, SigningAlgorithm};

fn key(kid: &str) -> SealedKey {
    SealedKey {
        kid: kid.into(),
        purpose: KeyPurpose::Token,
        algorithm: SigningAlgorithm::Es256,
        created: at(0),
        signs_from: at(5),
        sealed: kid.as_bytes().to_vec(),
    }
}

fn rotated() -> Event {
    Event::new(at(0), Kind::KeyRotated, Outcome::Done)
}

#[tokio::test]
async fn every_change_of_a_key_without_an_event_is_named() {
    let place = Place::new();
    let store = place.open().await;
    store.put_key(key("a"), Vec::new(), rotated()).await.unwrap();
    store.set_origin("log.acme", named()).await.unwrap();
    store.put_key(key("b"), vec!["a".to_owned()], rotated()).await.unwrap();
    store.put_key(key("c"), ["a", "b"].map(str::to_owned).to_vec(), rotated()).await.unwrap();
    store.remove_key("c", rotated()).await.unwrap();
    store.close().await;
    place.verify().unwrap();
    let original = std::fs::read(place.path()).unwrap();
    let columns = "purpose, algorithm, created, signs_from, sealed";
    for (sql, kid) in [
        ("DELETE FROM signing_keys WHERE kid = 'a'".to_owned(), "a was removed"),
        ("DELETE FROM signing_keys".to_owned(), "a was removed"),
        ("UPDATE signing_keys SET sealed = x'00' WHERE kid = 'b'".to_owned(), "b was changed"),
        ("UPDATE signing_keys SET signs_from = 0 WHERE kid = 'b'".to_owned(), "b was changed"),
        ("UPDATE signing_keys SET created = created + 1 WHERE kid = 'a'".to_owned(), "a was changed"),
        ("UPDATE signing_keys SET purpose = 'checkpoint' WHERE kid = 'b'".to_owned(), "b was changed"),
        ("UPDATE signing_keys SET algorithm = 'EdDSA' WHERE kid = 'b'".to_owned(), "b was changed"),
        ("UPDATE signing_keys SET algorithm = 'none' WHERE kid = 'b'".to_owned(), "cannot be read"),
        (
            format!("INSERT INTO signing_keys SELECT 'c', {columns} FROM signing_keys WHERE kid = 'a'"),
            "c was added",
        ),
    ] {
        place.tamper(&sql);
        match &place.differences()[0] {
            Difference::Keys(problem) => assert!(problem.contains(kid), "{sql}: {problem}"),
            other => panic!("{sql}: {other:?}"),
        }
        std::fs::write(place.path(), &original).unwrap();
    }
    for sql in
        ["UPDATE meta SET value = 'log.evil'", "DELETE FROM meta", "INSERT INTO meta VALUES ('other', 'x')"]
    {
        place.tamper(sql);
        assert_eq!(place.differences(), [Difference::Origin("log.acme".to_owned())], "{sql}");
        std::fs::write(place.path(), &original).unwrap();
    }
    place.verify().unwrap();
}

/// The events of an earlier hallpass do not say which keys it made; the first start of this one tells of them all.
#[tokio::test]
async fn keys_of_an_earlier_hallpass_are_told_of_at_the_first_start() {
    let place = Place::new();
    let store = place.open().await;
    store.append(rotated()).await.unwrap();
    store.close().await;
    place.tamper(
        "INSERT INTO signing_keys VALUES ('old', 'token', 'ES256', 1, 2, x'00');
         INSERT INTO meta VALUES ('origin', 'log.acme')",
    );
    place.verify().unwrap();
    let store = place.open().await;
    assert_eq!(store.set_origin("log.other", named()).await.unwrap(), "log.acme");
    store.close().await;
    place.verify().unwrap();
    place.tamper("UPDATE signing_keys SET sealed = x'01'");
    assert!(matches!(place.differences()[..], [Difference::Keys(_)]));
}
