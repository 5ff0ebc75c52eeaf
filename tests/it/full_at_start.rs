//! The store cannot be written when the broker starts. The kill switch must work all the same.

use std::fs;
use std::time::Duration;

use hallpass::domain::event::Kind;
use rusqlite::Connection;
use serde_json::json;

use crate::support::disk::Disk;
use crate::support::process::{Plan, Process, eventually};
use crate::support::redis::RedisServer;

const DEGRADED: &str = "listening, but not ready: the store cannot be written";

/// What a broker without a store does: it issues nothing, says why, and stops whom it is told to stop.
async fn stops_and_issues_nothing(broker: &Process) {
    let refused = broker.exchange().await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, "journal_unavailable"), "{refused:?}");
    assert!(broker.log().contains("STARTED WITHOUT THE STORE"), "{}", broker.log());
    let ready = broker.admin_get("/readyz").await;
    assert!(
        ready.status == 503 && ready.text.contains("store: the audit log cannot be written"),
        "{ready:?}"
    );

    let stopped = broker.revoke("agent:payments-refactorer").await;
    assert_eq!(
        (stopped.status, stopped.json()["audit"].as_str()),
        (201, Some("pending")),
        "{}",
        stopped.text
    );
    assert_eq!(stopped.json()["confirmed"], json!(["broker-a"]));
    assert_eq!(broker.exchange().await.reason(), "revoked");
    let kept = fs::read_to_string(broker.file("data/hallpass.db.unjournaled")).unwrap();
    assert!(kept.contains("agent:payments-refactorer"), "{kept}");
}

/// The start is in the log, before the stop.
async fn journals_what_it_owed(broker: &Process) {
    eventually("the stop's event", || async { !broker.events(Some(Kind::RevocationStopped)).is_empty() })
        .await;
    let events = broker.events(None);
    let place = |kind| events.iter().rposition(|event| event.kind == kind).unwrap();
    assert!(place(Kind::BrokerStarted) < place(Kind::RegistryLoaded));
    assert!(place(Kind::RegistryLoaded) < place(Kind::RevocationStopped));
    assert_eq!(events.iter().filter(|event| event.kind == Kind::BrokerStarted).count(), 2);
}

/// The stop holds until it is lifted, and it is a broker like any other.
async fn recovers(broker: &mut Process, tokens: &[String]) {
    let took = eventually("recovery", || async { broker.get("/readyz").await.status == 200 }).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    eventually("the stop's event", || async { !broker.events(Some(Kind::RevocationStopped)).is_empty() })
        .await;
    assert_eq!(broker.exchange().await.reason(), "revoked");
    let stop = broker.events(Some(Kind::RevocationStopped)).last().unwrap().stop.unwrap();
    let lift = broker.http.post(format!("{}/v1/revocations/{stop}/lift", broker.admin));
    let lift = lift.bearer_auth(&broker.operator).body(json!({"reason": "a test"}).to_string());
    assert_eq!(lift.send().await.unwrap().status(), 200);
    let tokens = [tokens, &[broker.exchange().await.token()]].concat();
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    broker.holds_every(&tokens);
}

#[tokio::test]
async fn on_a_full_disk_a_broker_starts_and_can_stop() {
    let redis = RedisServer::start();
    let shared = format!("redis://127.0.0.1:{}", redis.port);
    for (killed, revocation) in [(false, "memory:"), (true, "memory:"), (false, &shared)] {
        let mut broker = Process::prepare(Plan { revocation: revocation.to_owned(), ..Plan::default() });
        let Some(disk) = Disk::mount(&broker.file("data")) else { return };
        broker.boot();
        let tokens = [broker.exchange().await.token()];
        if killed {
            broker.kill();
        } else {
            broker.terminate();
            broker.wait();
        }
        disk.fill();
        broker.boot_until(DEGRADED);
        stops_and_issues_nothing(&broker).await;
        if killed {
            // The next start on a full disk knows of the stop; what was kept free for it is used up too.
            disk.fill();
            broker.kill();
            broker.boot_until(DEGRADED);
            assert_eq!(broker.exchange().await.reason(), "revoked");
            disk.free();
        } else {
            disk.free();
            journals_what_it_owed(&broker).await;
        }
        recovers(&mut broker, &tokens).await;
    }
}

/// A new database needs room: its start ends, and says so.
#[test]
fn on_a_full_disk_no_store_is_made() {
    let mut broker = Process::prepare(Plan::default());
    let Some(disk) = Disk::mount(&broker.file("data")) else { return };
    disk.fill();
    broker.spawn();
    assert_eq!(broker.wait().code(), Some(1));
    assert!(broker.log().contains("the journal is unavailable"), "{}", broker.log());
    disk.free();
    broker.boot();
}

/// Another program holds the database, as a careless backup does.
#[tokio::test]
async fn while_another_program_holds_the_database_a_broker_starts_and_can_stop() {
    let mut broker = Process::start();
    let tokens = [broker.exchange().await.token()];
    broker.kill();
    let thief = Connection::open(broker.database()).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    broker.boot_until(DEGRADED);
    stops_and_issues_nothing(&broker).await;
    thief.execute_batch("ROLLBACK").unwrap();
    drop(thief);
    journals_what_it_owed(&broker).await;
    recovers(&mut broker, &tokens).await;
}

/// A store that is not what its log says still ends the start, on a full disk too.
#[test]
fn on_a_full_disk_a_changed_store_ends_the_start() {
    let mut broker = Process::prepare(Plan::default());
    let Some(disk) = Disk::mount(&broker.file("data")) else { return };
    broker.boot();
    broker.terminate();
    broker.wait();
    for (sql, problem) in [
        ("UPDATE head SET revision = 9", "the tables of the kill switch are not what the audit log tells"),
        ("PRAGMA user_version = 99", "written by a newer hallpass"),
    ] {
        let original = fs::read(broker.database()).unwrap();
        Connection::open(broker.database()).unwrap().execute_batch(sql).unwrap();
        disk.fill();
        broker.spawn();
        assert_eq!(broker.wait().code(), Some(1), "{sql}");
        assert!(broker.log().contains(problem), "{sql}: {}", broker.log());
        disk.free();
        fs::write(broker.database(), original).unwrap();
    }
}
