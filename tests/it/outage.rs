//! What hallpass stands on fails: a full disk, a lost file, a silent Redis, an issuer that is down. It
//! refuses what it cannot promise, says why, and goes on by itself once the cause is gone.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hallpass::domain::event::Kind;
use serde_json::json;

use crate::support::broker::{Answer, Backend, TestApp};
use crate::support::disk::Disk;
use crate::support::issuer::Mood;
use crate::support::process::{Plan, Process, eventually};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;

/// Refused because of the journal.
fn is_without_journal(answer: &Answer) {
    assert_eq!((answer.status, answer.reason().as_str()), (503, "journal_unavailable"), "{answer:?}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.json().get("access_token").is_none());
}

/// Issues until the journal fails; what was released before.
async fn until_it_fails(broker: &Process) -> Vec<String> {
    let begun = Instant::now();
    let mut tokens = Vec::new();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "the journal did not fail");
        let answer = broker.exchange().await;
        if answer.status != 200 {
            is_without_journal(&answer);
            return tokens;
        }
        tokens.push(answer.token());
    }
}

/// While the journal cannot be written: every call is refused quickly, and readiness names the store.
async fn stays_refused(broker: &Process) {
    for _ in 0..10 {
        let begun = Instant::now();
        is_without_journal(&broker.exchange().await);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let ready = broker.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("unavailable")), "{}", ready.text);
    assert!(!ready.text.contains("store"), "a stranger is told more than a word: {}", ready.text);
    let ready = broker.admin_get("/readyz").await;
    assert!(ready.status == 503 && ready.text.contains("store: "), "{}", ready.text);
    assert_eq!(broker.get("/healthz").await.status, 200);
    let metrics = broker.admin_get("/metrics").await.text;
    assert!(metrics.contains("hallpass_store_healthy 0"), "{metrics}");
}

/// Tokens again without a restart, and nothing lost or unaccounted for.
async fn recovers(broker: &mut Process, pid: u32, mut tokens: Vec<String>) {
    let took = eventually("recovery", || async { broker.get("/readyz").await.status == 200 }).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    for _ in 0..5 {
        tokens.push(broker.exchange().await.token());
    }
    assert_eq!(broker.pid(), pid);
    broker.holds_every(&tokens);
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    assert_eq!(broker.events(None).last().unwrap().kind, Kind::BrokerStopped);
    broker.holds_every(&tokens);
}

/// A file may not grow beyond so many bytes, or may again: what a quota does, for any user.
fn limit_files(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    assert!(Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().unwrap().success());
}

#[tokio::test]
async fn on_a_full_disk_no_token_until_there_is_space() {
    let mut broker = Process::prepare(Plan::default());
    let Some(disk) = Disk::mount(&broker.file("data")) else { return };
    broker.boot();
    let pid = broker.pid();
    let mut tokens = vec![broker.exchange().await.token()];
    disk.fill();
    tokens.extend(until_it_fails(&broker).await);
    stays_refused(&broker).await;
    disk.free();
    recovers(&mut broker, pid, tokens).await;
}

#[tokio::test]
async fn at_its_quota_no_token_until_it_is_raised() {
    // Without the trap the kernel ends whoever writes beyond the limit.
    let mut broker = Process::with(Plan { before: "trap '' XFSZ".to_owned(), ..Plan::default() });
    let pid = broker.pid();
    let mut tokens = vec![broker.exchange().await.token()];
    // As large as the largest file is now: nothing more can be appended to it.
    limit_files(pid, "65536");
    tokens.extend(until_it_fails(&broker).await);
    // The log on standard error is a file too, and may be full long before.
    limit_files(pid, "0");
    stays_refused(&broker).await;
    limit_files(pid, "unlimited");
    recovers(&mut broker, pid, tokens).await;
}

/// Another program holds the database, as a careless backup does.
#[tokio::test]
async fn a_locked_database_is_refused_and_recovers() {
    let mut broker = Process::start();
    let pid = broker.pid();
    let mut tokens = vec![broker.exchange().await.token()];
    let thief = rusqlite::Connection::open(broker.database()).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers = futures_util::future::join_all((0..8).map(|_| broker.exchange())).await;
    answers.iter().for_each(is_without_journal);
    assert_eq!(broker.get("/readyz").await.status, 503);
    thief.execute_batch("ROLLBACK").unwrap();
    drop(thief);
    tokens.push(eventually_issued(&broker).await);
    recovers(&mut broker, pid, tokens).await;
}

async fn eventually_issued(broker: &Process) -> String {
    let begun = Instant::now();
    loop {
        let answer = broker.exchange().await;
        if answer.status == 200 {
            return answer.token();
        }
        is_without_journal(&answer);
        assert!(begun.elapsed() < Duration::from_secs(10), "no recovery");
    }
}

/// A log that was deleted under its writer takes writes on Unix, and all of them are lost.
#[tokio::test]
async fn a_deleted_database_takes_no_event() {
    let mut broker = Process::start();
    let pid = broker.pid();
    let tokens = vec![broker.exchange().await.token()];
    let elsewhere = broker.file("elsewhere.db");
    fs::rename(broker.database(), &elsewhere).unwrap();
    is_without_journal(&broker.exchange().await);
    stays_refused(&broker).await;
    // Not another file of that name either: an empty log would forget every token and every stop.
    fs::write(broker.database(), "").unwrap();
    stays_refused(&broker).await;
    fs::remove_file(broker.database()).unwrap();
    fs::rename(&elsewhere, broker.database()).unwrap();
    recovers(&mut broker, pid, tokens).await;
}

/// Standard error on a full disk. Nobody is left to tell, but agents get their tokens.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let mut broker =
        Process::prepare(Plan { stderr: Some("/dev/full".into()), log: "trace", ..Plan::default() });
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (public, admin) = (free(), free());
    let file = broker.file("hallpass.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen("127.0.0.1:0", &public.to_string(), 1);
    fs::write(&file, text.replacen("127.0.0.1:0", &admin.to_string(), 1)).unwrap();
    broker.spawn();
    let url = format!("http://{public}/readyz");
    eventually("a broker", || async {
        broker.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    broker.reach(format!("http://{public}"), format!("http://{admin}"));
    let tokens = vec![broker.exchange().await.token(), broker.exchange().await.token()];
    assert_eq!(broker.revoke("agent:payments-refactorer").await.status, 201);
    assert_eq!(broker.exchange().await.reason(), "revoked");
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    broker.holds_every(&tokens);
}

/// Store gone, Redis fine. The stop takes effect at once, and is journaled later.
#[tokio::test]
async fn without_the_store_a_stop_takes_effect_and_its_event_follows() {
    for flushed in [false, true] {
        let mut app = TestApp::with(Backend::Redis, "[limits]\nrefusals_per_minute = 0").await;
        let token = app.issue().await;
        let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
        fs::rename(&database, &elsewhere).unwrap();
        if flushed {
            app.redis.as_ref().unwrap().command::<()>(&["FLUSHALL"]);
        }
        let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"});
        let answer = app.admin_post("/v1/revocations", &stop).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.json()["audit"], "pending");
        assert_eq!(answer.json()["confirmed"], json!(["broker-a"]));
        assert!(!app.active(&token).await, "the stop is not in effect");
        assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked");
        let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
        assert_eq!((ready.status, ready.text.as_str()), (503, r#"{"status":"unavailable"}"#));
        let ready = app.admin_get("/readyz").await;
        assert!(ready.text.contains("1 stop in effect and not yet in the log"), "{}", ready.text);

        // The store comes back in the moment in which Redis goes: the stop is known to neither.
        app.redis.as_mut().unwrap().kill();
        fs::rename(&elsewhere, &database).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            let reason = app.exchange(&app.proof(), &[]).await.reason();
            assert!(["revoked", "revocation_unavailable", "journal_unavailable"].contains(&reason.as_str()));
        }
        let events = app.events("kind=revocation.stopped").await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["target"], "agent:payments-refactorer");
        assert_eq!(events[0]["operator"], "local");
        let id = answer.json()["revocation"]["id"].as_str().unwrap().to_owned();
        app.lift(&id).await;
        assert!(!app.active(&token).await);
        app.issue().await;
        app.finish().await;
    }
}

/// With neither, nothing is issued to anyone; a stop is kept in the file beside the store, and outlives the broker.
#[tokio::test]
async fn with_neither_store_nor_redis_a_stop_is_not_lost() {
    let mut app = TestApp::with(Backend::Redis, "[limits]\nrefusals_per_minute = 0").await;
    let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
    app.redis.as_mut().unwrap().kill();
    fs::rename(&database, &elsewhere).unwrap();
    let refused = app.exchange(&app.proof(), &[]).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"});
    let answer = app.admin_post("/v1/revocations", &stop).await;
    assert_eq!((answer.status, answer.json()["audit"].as_str()), (201, Some("pending")), "{}", answer.text);
    let kept = fs::read_to_string(app.file("hallpass.db.unjournaled")).unwrap();
    assert!(kept.contains("agent:payments-refactorer"), "{kept}");
    app.shutdown().await;
    fs::rename(&elsewhere, &database).unwrap();
    app.redis.as_mut().unwrap().restart();
    app.boot().await;
    let begun = Instant::now();
    let listed = loop {
        let answer = app.exchange(&app.proof(), &[]).await;
        assert_ne!(answer.status, 200, "the broker forgot a stop that it knew of");
        let listed = app.admin_get("/v1/revocations?active=true").await;
        let recovered = listed.status == 200 && answer.reason() == "revoked";
        if recovered && listed.json()["revocations"].as_array().is_some_and(|stops| stops.len() == 1) {
            break listed.json();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no recovery: {} {}", answer.text, listed.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // A stop like any other: it has its event, and can be lifted.
    assert!(!app.file("hallpass.db.unjournaled").exists());
    assert_eq!(app.events("kind=revocation.stopped").await.len(), 1);
    app.lift(listed["revocations"][0]["id"].as_str().unwrap()).await;
    app.issue().await;
    app.finish().await;
}

/// The slowest answer of ten to an agent, which is stopped or is not.
async fn slowest(broker: &Process, stopped: bool, how: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let begun = Instant::now();
        let answer = broker.exchange().await;
        slowest = slowest.max(begun.elapsed());
        if stopped {
            assert_eq!(answer.reason(), "revoked", "{how}: {}", answer.text);
        } else {
            answer.token();
        }
    }
    slowest
}

#[tokio::test]
async fn a_redis_that_misbehaves_delays_no_answer_and_un_revokes_nothing() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let more = "[limits]\nrefusals_per_minute = 0".to_owned();
    let broker = Process::with(Plan { revocation: url, more, ..Plan::default() });
    type Fault = fn(&Proxy);
    let faults: [(&str, Fault); 4] = [
        ("black hole", |proxy| proxy.black_hole()),
        ("cut", |proxy| proxy.cut()),
        ("delayed", |proxy| proxy.delay(Duration::from_millis(400))),
        ("half closed", |proxy| proxy.half_close()),
    ];
    for stopped in [false, true] {
        for (how, fault) in faults {
            proxy.pass();
            eventually("Redis", || async { broker.get("/readyz").await.json()["status"] == "ok" }).await;
            fault(&proxy);
            let took = slowest(&broker, stopped, how).await;
            assert!(took < Duration::from_secs(1), "{how}: {took:?}");
            if !stopped && how == "half closed" {
                // While Redis is away, which must not delay it for longer than the brokers' patience.
                let begun = Instant::now();
                let answer = broker.revoke("agent:payments-refactorer").await;
                assert_eq!(answer.status, 201, "{}", answer.text);
                assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
            }
        }
    }
    proxy.pass();
    eventually("Redis", || async { broker.get("/readyz").await.json()["status"] == "ok" }).await;
    assert_eq!(slowest(&broker, true, "back").await.as_secs(), 0);
    let stored: Option<String> =
        redis.command(&["HGET", "hallpass:{revocation}:stops", "agent:payments-refactorer"]);
    assert!(stored.is_some(), "Redis was not refilled");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_served_by_its_stale_keys_for_a_time() {
    let mut app = TestApp::with(Backend::Memory, "[limits]\nrefusals_per_minute = 0").await;
    app.issue().await;
    app.issuer.stop().await;
    app.hands.push(16 * 60);
    app.issue().await;
    app.hands.push(50 * 60);
    app.issue().await;
    // Fresh for 15 minutes, stale for an hour.
    app.hands.push(10 * 60);
    let refused = app.exchange(&app.proof(), &[]).await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, "issuer_unavailable"), "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
    let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
    assert_eq!(ready.status, 200, "one issuer's fault is not the broker's: {}", ready.text);
    app.issuer.restart().await;
    app.hands.push(6);
    app.issue().await;
    app.finish().await;
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_costs_an_answer_and_no_more() {
    let mut app = TestApp::with(Backend::Memory, "[limits]\nrefusals_per_minute = 0").await;
    app.shutdown().await;
    for mood in [Mood::Broken, Mood::Redirects("http://127.0.0.1:1/".to_owned()), Mood::Huge(1 << 20)] {
        app.issuer.behave(mood.clone());
        app.boot().await;
        for _ in 0..3 {
            let refused = app.exchange(&app.proof(), &[]).await;
            assert_eq!((refused.status, refused.reason().as_str()), (503, "issuer_unavailable"), "{mood:?}");
            assert_eq!(refused.json()["error"], "temporarily_unavailable");
            assert!(!refused.header("retry-after").is_empty());
        }
        app.issuer.behave(Mood::Honest);
        app.hands.push(6);
        app.issue().await;
        app.shutdown().await;
    }
    app.boot().await;
    app.finish().await;
}
