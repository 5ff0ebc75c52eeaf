//! A part of the broker's memory is gone: nothing takes its place unless the operator says so.

use std::fs;
use std::path::PathBuf;

use hallpass::domain::event::Kind;

use crate::support::process::{Plan, Process, hallpass};
use crate::support::redis::RedisServer;

const AGENT: &str = "agent:payments-refactorer";

fn key_file(broker: &Process) -> PathBuf {
    broker.file("data/hallpass.db.key")
}

#[tokio::test]
async fn a_lost_key_encryption_key_is_not_replaced_beside_the_keys_that_it_sealed() {
    let mut broker = Process::start();
    let token = broker.exchange().await.token();
    broker.end();
    let key = key_file(&broker);
    let kept = fs::read_to_string(&key).unwrap();

    fs::remove_file(&key).unwrap();
    let said = broker.refused();
    assert!(said.contains("hallpass.db.key is missing") && said.contains("--new-signing-keys"), "{said}");
    assert!(!key.exists(), "another key took its place");

    fs::write(&key, "").unwrap();
    assert!(broker.refused().contains("is empty"));
    assert_eq!(fs::read_to_string(&key).unwrap(), "");

    let other = "ab".repeat(32);
    fs::write(&key, &other).unwrap();
    let said = broker.refused();
    assert!(said.contains("another key-encryption key") && said.contains("--new-signing-keys"), "{said}");
    assert!(!said.contains(&other));

    fs::write(&key, kept).unwrap();
    broker.boot();
    assert!(broker.active(&token).await, "nothing was lost");
}

#[tokio::test]
async fn with_new_signing_keys_the_log_and_the_stops_go_on() {
    let mut broker = Process::start();
    let token = broker.exchange().await.token();
    assert_eq!(broker.revoke("owner:team-ledger").await.status, 404);
    assert_eq!(broker.revoke(AGENT).await.status, 201);
    broker.end();
    let config = broker.file("hallpass.toml");
    let (is_good, checkpoint) = hallpass(&["audit", "checkpoint", "--config"], &config);
    assert!(is_good, "{checkpoint}");
    let (_, verifier) = hallpass(&["audit", "checkpoint", "--key", "--config"], &config);
    let events = broker.events(None).len();
    fs::remove_file(key_file(&broker)).unwrap();

    broker.flags("--new-signing-keys");
    broker.boot();
    assert!(!broker.active(&token).await, "no key verifies it");
    assert_eq!(broker.exchange().await.reason(), "revoked", "the stop was forgotten");
    let stop = broker.events(Some(Kind::RevocationStopped)).last().unwrap().stop.unwrap();
    lift(&broker, &stop.to_string()).await;
    let fresh = broker.exchange().await.token();
    assert!(broker.active(&fresh).await && !broker.active(&token).await);
    let after = broker.events(None).split_off(events);
    let removed = after.iter().filter(|event| event.removed_key.is_some()).count();
    let made: usize = after.iter().map(|event| event.keys.len()).sum();
    assert_eq!((removed, made), (2, 2), "the token key and the checkpoint key: {after:#?}");
    broker.end();
    broker.holds_every(&[token, fresh.clone()]);

    // The checkpoint that an auditor kept still proves the log, by the key that the auditor kept.
    let (kept, database) = (broker.file("checkpoint"), broker.database());
    fs::write(&kept, checkpoint).unwrap();
    let arguments = ["audit", "verify", "--verifier-key", verifier.trim(), "--checkpoint"];
    let arguments = [&arguments[..], &[kept.to_str().unwrap(), "--database"]].concat();
    let (is_good, said) = hallpass(&arguments, &database);
    assert!(is_good && said.contains("extends the checkpoint"), "{said}");

    // Where it stays in the command line of the broker, it drops nothing that can be opened.
    broker.boot();
    assert!(broker.active(&fresh).await);
    broker.end();
    broker.flags("");
    broker.boot();
    assert!(broker.active(&fresh).await);
}

#[tokio::test]
async fn a_missing_store_is_made_anew_only_where_the_operator_says_so() {
    let mut broker = Process::start();
    assert_eq!(broker.revoke(AGENT).await.status, 201);
    broker.end();
    let database = broker.database();
    let whole = fs::read(&database).unwrap();
    let folder = broker.file("data");
    let beside = ["hallpass.db.key", "hallpass.db.lock", "hallpass.db.unjournaled.reserve"];
    for (kept, bytes) in beside.map(|name| (name, fs::read(folder.join(name)).unwrap())) {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(kept), bytes).unwrap();
        let said = broker.refused();
        assert!(said.contains("missing or empty") && said.contains("serve --new-store"), "{kept}: {said}");
        assert!(said.contains("hallpass restore") && !database.exists(), "{kept}: {said}");
    }
    // A file that was cut to nothing is as good as gone.
    fs::write(&database, "").unwrap();
    assert!(broker.refused().contains("serve --new-store"));
    fs::write(&database, &whole).unwrap();
    assert!(broker.refused().contains("is missing"), "its key is");
    fs::remove_file(&database).unwrap();
    fs::write(broker.file("data/hallpass.db-wal"), "the last events").unwrap();

    broker.flags("--new-store");
    broker.boot();
    assert!(broker.log().contains("in place of one that is lost"), "{}", broker.log());
    assert_eq!(broker.exchange().await.status, 200, "nobody is stopped any more");
    assert_eq!(fs::read(broker.file("data/hallpass.db-wal.lost")).unwrap(), b"the last events");
    assert_eq!(broker.revoke(AGENT).await.status, 201);
    broker.end();

    // The flag makes a store; it never empties one.
    broker.boot();
    assert_eq!(broker.exchange().await.reason(), "revoked");
}

/// Redis knows a store by its log's name and its key. What goes on in the place of a lost one inherits it, stops and all.
#[tokio::test]
async fn redis_is_inherited_by_what_goes_on() {
    for (lost, flag) in [("data/hallpass.db.key", "--new-signing-keys"), ("data/hallpass.db", "--new-store")]
    {
        let redis = RedisServer::start();
        let url = format!("redis://127.0.0.1:{}", redis.port);
        let mut broker = Process::with(Plan { revocation: url.clone(), ..Plan::default() });
        let before = broker.exchange().await.token();
        let stop = broker.revoke(AGENT).await.json()["revocation"]["id"].as_str().unwrap().to_owned();
        broker.end();
        fs::remove_file(broker.file(lost)).unwrap();
        broker.flags(flag);
        // Without Redis nobody knows whose it is.
        broker.revoke_by("redis://127.0.0.1:1");
        let said = broker.refused();
        assert!(said.contains("needs Redis"), "{flag}: {said}");
        broker.revoke_by(&url);
        broker.boot();
        assert_eq!(broker.exchange().await.reason(), "revoked", "{flag}: Redis remembers the stop");
        lift(&broker, &stop).await;
        let fresh = broker.exchange().await.token();
        assert!(broker.active(&fresh).await && !broker.active(&before).await, "{flag}");
        broker.end();
        broker.flags("");
        broker.boot();
        assert!(broker.active(&fresh).await, "{flag}");
        broker.end();
        broker.holds_every(&[fresh]);
    }
}

async fn lift(broker: &Process, stop: &str) {
    let lift = broker.http.post(format!("{}/v1/revocations/{stop}/lift", broker.admin));
    let lift = lift.bearer_auth(&broker.operator).body(r#"{"reason": "a test"}"#).send().await.unwrap();
    assert_eq!(lift.status(), 200);
}
