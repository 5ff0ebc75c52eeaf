//! A stop that was made holds: through restarts, a Redis that forgets or is gone, clocks that are set, and a commit that is slow.

use std::sync::Arc;
use std::time::Duration;

use hallpass::domain::digest::Digest;
use hallpass::domain::id::StopId;
use hallpass::domain::revocation::{Book, Revision, Target};
use hallpass::revocation::settings::{Backend as RevocationBackend, RedisSettings, RevocationSettings};
use hallpass::revocation::{Revocation, RevocationError, Source, UnnumberedStop};
use serde_json::Value;

use crate::support::broker::{BOTH, Backend, TestApp};

#[tokio::test]
async fn stops_outlive_the_broker_and_its_redis() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        let token = app.issue().await;
        app.revoke("agent:payments-refactorer").await;
        app.shutdown().await;
        if let Some(redis) = &mut app.redis {
            redis.stop();
            redis.lose_data();
            redis.restart();
        }
        app.boot().await;
        assert!(!app.active(&token).await);
        assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked");
        app.finish().await;
    }
}

/// Twenty tries: none issues, and the old token is dead at each.
async fn stays_refused(app: &TestApp, token: &str) {
    for _ in 0..20 {
        let answer = app.exchange(&app.proof(), &[]).await;
        assert!(["revoked", "revocation_unavailable"].contains(&answer.reason().as_str()), "{}", answer.text);
        assert!(!app.active(token).await);
    }
}

/// Redis is stopped, flushed and restarted empty while an agent is stopped: no token at any moment.
#[tokio::test]
async fn redis_never_un_revokes() {
    let mut app = TestApp::with(Backend::Redis, "[limits]\nrefusals_per_minute = 0").await;
    let token = app.issue().await;
    app.revoke("agent:payments-refactorer").await;
    stays_refused(&app, &token).await;
    app.redis.as_ref().unwrap().command::<()>(&["FLUSHALL"]);
    stays_refused(&app, &token).await;
    app.redis.as_mut().unwrap().kill();
    stays_refused(&app, &token).await;
    app.redis.as_ref().unwrap().lose_data();
    app.redis.as_mut().unwrap().restart();
    stays_refused(&app, &token).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stays_refused(&app, &token).await;
    // The other agents' tokens were never in question: readiness says what is degraded, and recovers.
    let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ok")), "{}", ready.text);
    app.finish().await;
}

/// Redis down while the store serves: issuance asks the store, `/readyz` says what is degraded.
#[tokio::test]
async fn without_redis_the_store_answers() {
    let mut app = TestApp::start(Backend::Redis).await;
    app.redis.as_mut().unwrap().kill();
    let begun = std::time::Instant::now();
    let token = app.issue().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let stop = app.revoke("agent:payments-refactorer").await;
    assert!(!app.active(&token).await);
    assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked");
    let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")), "{}", ready.text);
    let why = "revocation: Redis cannot be used: nobody listens on its port";
    let begun = std::time::Instant::now();
    while !app.admin_get("/readyz").await.text.contains(why) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", app.admin_get("/readyz").await.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.redis.as_mut().unwrap().restart();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked");
    app.lift(&stop).await;
    app.issue().await;
    app.finish().await;
}

/// Whatever the wall clock is set to: what is stopped stays stopped, what is dead stays dead, and a lift ends a stop at
/// once. A step is counted.
#[tokio::test]
async fn a_clock_that_is_set_changes_no_verdict() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        let mut dead = vec![app.issue().await];
        for hours in [3, -6, 5] {
            let stop = app.revoke("agent:payments-refactorer").await;
            app.hands.push(hours * 3600);
            assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked", "{hours}");
            app.shutdown().await;
            app.boot().await;
            assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked", "{hours}, after a restart");
            app.lift(&stop).await;
            app.hands.push(-hours * 3600);
            for token in &dead {
                assert!(!app.active(token).await, "{hours}: a clock that was set brought a token back");
            }
            dead.push(app.issue().await);
            assert!(app.active(&dead[dead.len() - 1]).await);
        }
        // Upkeep looks once a second, and has to have looked before.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        app.hands.push(20);
        let begun = std::time::Instant::now();
        while !app.admin_get("/metrics").await.text.contains("hallpass_clock_steps_total 1") {
            assert!(begun.elapsed() < Duration::from_secs(5), "no step was counted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        app.finish().await;
    }
}

/// Its proof was good and its verdict clean, but its event waits for a disk that is busy, and meanwhile another
/// broker's `revoke` returns: no token comes out any more.
#[tokio::test]
async fn a_stop_of_another_broker_overtakes_a_slow_commit() {
    let a = TestApp::start(Backend::Redis).await;
    a.issue().await;
    let b = OtherNode::beside(&a).await;
    let thief = rusqlite::Connection::open(a.file("hallpass.db")).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    let proof = a.proof();
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let applied = b.revocation.push(&b).await.unwrap().without_number();
        let seen = b.revocation.confirmations(&applied, Duration::from_secs(2)).await.unwrap();
        let names: Vec<&str> = seen.confirmed.iter().map(|name| name.as_str()).collect();
        assert_eq!((names, seen.pending.len()), (vec!["broker-a", "broker-b"], 0));
        thief.execute_batch("ROLLBACK").unwrap();
    };
    let (answer, ()) = tokio::join!(a.exchange(&proof, &[]), revoke);
    assert_eq!((answer.status, answer.reason().as_str()), (400, "revoked"), "{}", answer.text);
    // It was recorded before anybody could know, and so was its refusal.
    let events = a.events("agent=payments-refactorer").await;
    let kinds: Vec<&Value> = events.iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["token.refused", "token.issued", "token.issued"]);
    a.finish().await;
}

/// Another node of the same store, which cannot write to it just now: its stop has no number yet.
struct OtherNode {
    revocation: Revocation,
    stop: UnnumberedStop,
}

impl OtherNode {
    async fn beside(app: &TestApp) -> Self {
        let redis = app.redis.as_ref().unwrap();
        let state: String = redis.command(&["HGET", "hallpass:{revocation}:stops", "state"]);
        let origin = state.split(' ').next().unwrap();
        let backend = RevocationBackend::Redis(Box::new(RedisSettings::new(redis.url())));
        let settings = RevocationSettings { backend, max_staleness: Duration::from_secs(2) };
        let clock = app.hands.clock();
        let revocation =
            Revocation::connect(&settings, "broker-b".parse().unwrap(), origin, clock).await.unwrap();
        let target = Target::Agent("payments-refactorer".parse().unwrap());
        let stop = UnnumberedStop { id: StopId::new(app.hands.now(), &[7; 10]), target };
        Self { revocation, stop }
    }
}

impl Source for OtherNode {
    async fn book(&self) -> Result<Arc<Book>, RevocationError> {
        Ok(Arc::default())
    }

    async fn mark(&self, _: Revision) -> Result<Option<Digest>, RevocationError> {
        Ok(None)
    }

    fn unnumbered(&self) -> Vec<UnnumberedStop> {
        vec![self.stop.clone()]
    }

    async fn is_numbered(&self, _: &UnnumberedStop) -> Result<bool, RevocationError> {
        Ok(false)
    }

    async fn take_over(&self) -> Result<(), RevocationError> {
        panic!("there is no other history")
    }
}
