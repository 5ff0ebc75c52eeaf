//! The store is restored from an older copy: what Redis remembers is not un-revoked (law 5).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{Backend, TestApp, decode};
use crate::support::proxy::Proxy;

const AGENT: &str = "agent:payments-refactorer";

/// Every file of the database, for a broker that has ended.
fn back_up(app: &TestApp) -> Vec<(String, Vec<u8>)> {
    let files = ["hallpass.db", "hallpass.db-wal", "hallpass.db-shm"];
    files.iter().filter_map(|name| Some(((*name).to_owned(), fs::read(app.file(name)).ok()?))).collect()
}

fn restore(app: &TestApp, copy: &[(String, Vec<u8>)]) {
    for name in ["hallpass.db", "hallpass.db-wal", "hallpass.db-shm"] {
        let _ = fs::remove_file(app.file(name));
    }
    for (name, bytes) in copy {
        fs::write(app.file(name), bytes).unwrap();
    }
}

/// With some history, and the copy of it.
async fn with_history(app: &mut TestApp) -> (String, Vec<(String, Vec<u8>)>) {
    for _ in 0..3 {
        let stop = app.revoke("owner:team-payments").await;
        app.lift(&stop).await;
    }
    let before = app.issue().await;
    app.shutdown().await;
    let copy = back_up(app);
    app.boot().await;
    (before, copy)
}

async fn active_stops(app: &TestApp) -> Vec<Value> {
    let listed = app.admin_get("/v1/revocations?active=true").await.json();
    listed["revocations"].as_array().unwrap().clone()
}

async fn restorations(app: &TestApp) -> Vec<Value> {
    app.events("kind=store.restored").await
}

/// Not once in this time does the agent get a token; at the end it is told that it is stopped.
async fn stays_stopped(app: &TestApp) {
    let began = Instant::now();
    let mut reason = String::new();
    while began.elapsed() < Duration::from_secs(1) || reason != "revoked" {
        let answer = app.exchange(&app.proof(), &[]).await;
        assert_ne!(answer.status, 200, "a stopped agent got a token");
        reason = answer.reason();
        assert!(began.elapsed() < Duration::from_secs(20), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_stop_that_the_store_lost_is_in_force_and_can_be_lifted() {
    let mut app = TestApp::start(Backend::Redis).await;
    let (before, copy) = with_history(&mut app).await;
    let since = app.issue().await;
    let stop = app.revoke(AGENT).await;
    let token = app.revoke("issuer:ci").await;
    app.lift(&token).await;
    app.shutdown().await;
    restore(&app, &copy);
    app.boot().await;

    stays_stopped(&app).await;
    for token in [&before, &since] {
        assert!(!app.active(token).await, "every token that was issued before is dead");
    }
    let active = active_stops(&app).await;
    assert_eq!(active.len(), 1, "{active:?}");
    assert_eq!(active[0]["id"], stop.as_str(), "under the id that the operator knows");
    let told = restorations(&app).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().contains("restored from an older copy"), "{told:?}");

    app.lift(&stop).await;
    let fresh = app.issue().await;
    assert!(app.active(&fresh).await);
    for token in [&before, &since] {
        assert!(!app.active(token).await, "a lift resurrected it");
    }
    // It is over: the next start finds nothing to take over, and the token lives on.
    app.shutdown().await;
    app.boot().await;
    assert!(app.active(&fresh).await);
    assert_eq!(restorations(&app).await.len(), 1);
    app.forget_releases();
    app.finish().await;
}

/// With `memory:` nothing tells that the store is an older copy: the token lives on until somebody stops it.
#[tokio::test]
async fn a_token_that_the_store_lost_can_be_stopped() {
    let mut app = TestApp::start(Backend::Memory).await;
    let (_, copy) = with_history(&mut app).await;
    let lost = app.issue().await;
    app.shutdown().await;
    restore(&app, &copy);
    app.boot().await;

    assert!(app.active(&lost).await, "its keys are those of the store");
    let target = format!("token:{}", decode(&lost)["jti"].as_str().unwrap());
    let stopped = app.admin_post("/v1/revocations", &json!({"target": target, "reason": "x"})).await;
    assert_eq!((stopped.status, &stopped.json()["unknown_token"]), (201, &json!(true)));
    assert!(!app.active(&lost).await);
    app.forget_releases();
    app.finish().await;
}

/// A broker whose Redis can be taken away and given back, with what it holds.
async fn behind(proxy: &Proxy) -> TestApp {
    TestApp::prepared(Backend::Redis, "", |folder: &Path| {
        let file = folder.join("hallpass.toml");
        let text = fs::read_to_string(&file).unwrap();
        let port = text.split("redis://127.0.0.1:").nth(1).unwrap().split('"').next().unwrap();
        proxy.redirect(port.parse().unwrap());
        fs::write(&file, text.replace(&format!(":{port}\""), &format!(":{}\"", proxy.port))).unwrap();
    })
    .await
}

#[tokio::test]
async fn numbers_that_were_given_twice_are_told_apart() {
    let proxy = Proxy::to(1).await;
    let mut app = behind(&proxy).await;
    let (before, copy) = with_history(&mut app).await;
    let since = app.issue().await;
    app.revoke(AGENT).await;
    app.shutdown().await;
    restore(&app, &copy);

    // Without Redis nobody can know, so nothing is issued; the restored store gives the same numbers to changes of its own.
    proxy.cut();
    app.boot().await;
    assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revocation_unavailable");
    assert_eq!(app.send(app.http().get(format!("{}/readyz", app.public))).await.status, 503);
    let stop = app.revoke("owner:team-payments").await;
    app.lift(&stop).await;
    let kept = app.revoke("issuer:ci").await;
    app.lift(&kept).await;
    let kept = app.revoke("issuer:ci").await;
    proxy.pass();

    let began = Instant::now();
    while restorations(&app).await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "it was not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.lift(&kept).await;
    stays_stopped(&app).await;
    let active = active_stops(&app).await;
    assert_eq!(active.len(), 1, "{active:?}");
    assert_eq!(active[0]["target"], AGENT);
    for token in [&before, &since] {
        assert!(!app.active(token).await);
    }
    app.lift(active[0]["id"].as_str().unwrap()).await;
    let fresh = app.issue().await;
    assert!(app.active(&fresh).await);
    for token in [&before, &since] {
        assert!(!app.active(token).await, "a lift resurrected it");
    }
    assert_eq!(restorations(&app).await.len(), 1);
    app.forget_releases();
    app.finish().await;
}

/// Taking over takes longer than anybody waits: until it is done the store alone decides nothing.
#[tokio::test]
async fn while_a_slow_redis_is_taken_over_nobody_relies_on_the_store() {
    let proxy = Proxy::to(1).await;
    let mut app = behind(&proxy).await;
    let (_, copy) = with_history(&mut app).await;
    app.revoke(AGENT).await;
    app.shutdown().await;
    restore(&app, &copy);
    proxy.delay(Duration::from_millis(60));
    app.boot().await;
    stays_stopped(&app).await;
    assert_eq!(restorations(&app).await.len(), 1);
    app.forget_releases();
    app.finish().await;
}

/// A Redis that hangs at the start tells nothing, and the store alone may be an older copy.
#[tokio::test]
async fn a_redis_that_hangs_at_the_start_frees_nobody() {
    let proxy = Proxy::to(1).await;
    let mut app = behind(&proxy).await;
    let (before, copy) = with_history(&mut app).await;
    app.revoke(AGENT).await;
    app.shutdown().await;
    restore(&app, &copy);
    proxy.cut();
    app.boot().await;
    for _ in 0..3 {
        assert_eq!(app.exchange(&app.proof(), &[]).await.status, 503, "the store alone was relied on");
        let answer =
            app.post_form("/oauth/introspect", &[("token", &before)], Some(&app.operator.clone())).await;
        assert_ne!(answer.json()["active"], true, "{}", answer.text);
    }
    proxy.pass();
    stays_stopped(&app).await;
    app.forget_releases();
    app.finish().await;
}

/// A number that the store never gave, written into Redis by hand: a stop is obeyed or is not confirmed.
#[tokio::test]
async fn a_number_that_the_store_never_gave_outranks_no_stop() {
    let mut app = TestApp::start(Backend::Redis).await;
    let token = app.issue().await;
    let stops = "hallpass:{revocation}:stops";
    app.redis.as_ref().unwrap().command::<i64>(&["HSET", stops, AGENT, "999999 0 -"]);
    app.shutdown().await;
    app.boot().await;
    let began = Instant::now();
    let answer =
        app.admin_post("/v1/revocations", &serde_json::json!({"target": AGENT, "reason": "a test"})).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let confirmed = answer.json()["pending"].as_array().unwrap().is_empty();
    let active = async || {
        let form = [("token", token.as_str())];
        app.post_form("/oauth/introspect", &form, Some(&app.operator)).await.json()["active"] == true
    };
    assert!(!confirmed || !active().await, "confirmed and not obeyed: {}", answer.text);
    while active().await || app.exchange(&app.proof(), &[]).await.reason() != "revoked" {
        assert!(began.elapsed() < Duration::from_secs(20), "the stop is never obeyed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(restorations(&app).await.len(), 1, "it was told");
    app.forget_releases();
    app.finish().await;
}

/// `memory:` remembers nothing: a token of the lost time proves by its number that the store was restored, and is dead for
/// good, whatever numbers are given later.
#[tokio::test]
async fn a_token_of_a_lost_history_stays_dead_without_redis() {
    let mut app = TestApp::start(Backend::Memory).await;
    let (_, copy) = with_history(&mut app).await;
    let stop = app.revoke("issuer:ci").await;
    app.lift(&stop).await;
    let lost = app.issue().await;
    app.shutdown().await;
    restore(&app, &copy);
    app.boot().await;
    assert!(!app.active(&lost).await);
    assert_eq!(restorations(&app).await.len(), 1);
    for _ in 0..3 {
        let stop = app.revoke("issuer:ci").await;
        app.lift(&stop).await;
        assert!(!app.active(&lost).await, "it lives again once its number is given anew");
    }
    assert_eq!(restorations(&app).await.len(), 1, "once");
    app.forget_releases();
    app.finish().await;
}

/// The holder ends a token of the lost time, or hands it down: nobody has asked about it before. Taken for dead because
/// its number is too high, it would live again once the store has given as many numbers.
#[tokio::test]
async fn an_end_and_a_handing_down_notice_a_lost_history_too() {
    for way in ["end", "hand down"] {
        let mut app = TestApp::start(Backend::Memory).await;
        let (_, copy) = with_history(&mut app).await;
        let stop = app.revoke("issuer:ci").await;
        app.lift(&stop).await;
        let lost = app.issue().await;
        app.shutdown().await;
        restore(&app, &copy);
        app.boot().await;
        if way == "end" {
            assert_eq!(app.post_form("/oauth/revoke", &[("token", &lost)], None).await.status, 200);
        } else {
            let parent = [
                ("actor_token", app.proof()),
                ("actor_token_type", "urn:ietf:params:oauth:token-type:jwt".to_owned()),
                ("subject_token", lost.clone()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ];
            let parent: Vec<(&str, &str)> =
                parent.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_ne!(app.post_form("/oauth/token", &parent, None).await.status, 200);
        }
        if way == "end" {
            assert_eq!(restorations(&app).await.len(), 1);
        }
        for _ in 0..4 {
            let stop = app.revoke("issuer:ci").await;
            app.lift(&stop).await;
        }
        assert!(!app.active(&lost).await, "{way}: it lives again once its number is given anew");
        app.forget_releases();
        app.finish().await;
    }
}

/// Every end is in every book a moment before the store says how far it is: that is no lost history, and nobody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_the_middle_of_a_commit_is_not_taken_for_a_lost_one() {
    let app = std::sync::Arc::new(TestApp::start(Backend::Redis).await);
    let until = Instant::now() + Duration::from_secs(4);
    let work = (0..6).map(|n| {
        let app = std::sync::Arc::clone(&app);
        tokio::spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                let token = app.issue().await;
                if n % 2 == 0 {
                    assert_eq!(app.post_form("/oauth/revoke", &[("token", &token)], None).await.status, 200);
                }
                done += 1;
            }
            done
        })
    });
    let work: Vec<_> = work.collect();
    while Instant::now() < until {
        let ready = app.admin_get("/readyz").await;
        assert!(!ready.text.contains("older copy"), "{}", ready.text);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for task in work {
        assert!(task.await.unwrap() > 20);
    }
    assert!(restorations(&app).await.is_empty());
    let app = std::sync::Arc::into_inner(app).unwrap();
    app.forget_releases();
    app.finish().await;
}

/// A copy of the store in use beside it, on one Redis: the second takes nothing over, and says which broker is in its way.
#[tokio::test]
async fn a_copy_of_a_store_in_use_undoes_nothing() {
    let mut app = TestApp::start(Backend::Redis).await;
    let (_, copy) = with_history(&mut app).await;
    let token = app.issue().await;
    let port = app.redis.as_ref().unwrap().port;
    let fill = |folder: &Path| {
        for (name, bytes) in &copy {
            fs::write(folder.join(name), bytes).unwrap();
        }
    };
    let mut other = app.beside_after("broker-b", app.hands.clone(), port, fill).await;
    let stop = app.revoke("issuer:ci").await;
    app.lift(&stop).await;
    let fresh = app.issue().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(app.active(&fresh).await, "the copy killed the tokens of the store");
    assert!(!app.active(&token).await);
    assert_eq!(restorations(&app).await.len(), 0);
    assert_eq!(other.exchange(&other.proof(), &[]).await.status, 503);
    let answer =
        other.admin_post("/v1/revocations", &serde_json::json!({"target": AGENT, "reason": "a test"})).await;
    assert_ne!(answer.json()["pending"], serde_json::json!([]), "confirmed by nobody: {}", answer.text);
    other.shutdown().await;
    app.finish().await;
}
