//! Stops that wait for a store which is down.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::broker::{Backend, TestApp};
use crate::support::disk::Disk;
use crate::support::process::{Plan, Process, eventually, read};

/// Each answer names the stop that can be lifted later, however often the target is stopped meanwhile.
#[tokio::test]
async fn without_the_store_the_first_stop_of_a_target_is_the_one_to_lift() {
    for stopped_before in [true, false] {
        let app = TestApp::with(Backend::Memory, "[limits]\nrefusals_per_minute = 0").await;
        let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"});
        let before = if stopped_before { Some(app.revoke("agent:payments-refactorer").await) } else { None };
        let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
        fs::rename(&database, &elsewhere).unwrap();
        let mut named = Vec::new();
        for n in 0..3 {
            let answer = app.admin_post("/v1/revocations", &stop).await.json();
            assert_eq!(answer["already_stopped"], n > 0 || stopped_before, "{answer}");
            assert_eq!(answer["audit"], "pending", "{answer}");
            named.push(answer["revocation"]["id"].as_str().unwrap().to_owned());
        }
        let first = before.unwrap_or_else(|| named[0].clone());
        assert!(named.iter().all(|id| *id == first), "{first}: {named:?}");
        fs::rename(&elsewhere, &database).unwrap();
        let begun = Instant::now();
        while app.admin_get("/v1/revocations?active=true").await.json()["revocations"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            assert!(begun.elapsed() < Duration::from_secs(10), "the stop was not journaled");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(app.admin_get("/v1/revocations?active=false").await.json()["revocations"], json!([]));
        app.lift(&first).await;
        assert_eq!(app.admin_get("/v1/revocations?active=true").await.json()["revocations"], json!([]));
        let lifted = app.admin_get("/v1/revocations?active=false").await.json();
        assert_eq!(lifted["revocations"].as_array().unwrap().len(), 1, "{lifted}");
        app.issue().await;
        app.finish().await;
    }
}

/// The broker that took a stop is gone, and its file too; Redis remembers. The stop is listed and can be lifted.
#[tokio::test]
async fn a_stop_that_its_broker_left_in_redis_is_journaled_and_can_be_lifted() {
    let mut app = TestApp::with(Backend::Redis, "[limits]\nrefusals_per_minute = 0").await;
    let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
    fs::rename(&database, &elsewhere).unwrap();
    let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"});
    let answer = app.admin_post("/v1/revocations", &stop).await.json();
    assert_eq!(answer["audit"], "pending", "{answer}");
    app.shutdown().await;
    fs::remove_file(app.file("hallpass.db.unjournaled")).unwrap();
    fs::rename(&elsewhere, &database).unwrap();
    app.boot().await;
    let begun = Instant::now();
    loop {
        assert_ne!(app.exchange(&app.proof(), &[]).await.status, 200, "a stopped agent got a token");
        let listed = app.admin_get("/v1/revocations?active=true").await.json();
        if listed["revocations"].as_array().is_some_and(|stops| stops.len() == 1) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it is in no list: {listed}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    app.lift(answer["revocation"]["id"].as_str().unwrap()).await;
    let begun = Instant::now();
    while app.exchange(&app.proof(), &[]).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "lifted, and still stopped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.finish().await;
}

/// A fleet that ends its tokens while the store is down delays no stop, and takes no more room than is kept for ends.
#[tokio::test]
async fn a_crowd_of_ends_does_not_hold_up_a_stop() {
    let more = "[limits]\nrefusals_per_minute = 0";
    let app = TestApp::with(Backend::Redis, more).await;
    let mut tokens = Vec::new();
    for _ in 0..15 {
        tokens.extend(join_all((0..20).map(|_| app.issue())).await);
    }
    let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
    fs::rename(&database, &elsewhere).unwrap();
    let end = async |token: &String| app.post_form("/oauth/revoke", &[("token", token)], None).await.status;
    let ends = join_all(tokens.iter().map(end));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        let stop = json!({"target": "issuer:github", "reason": "a test"});
        let answer = app.admin_post("/v1/revocations", &stop).await.json();
        (answer, begun.elapsed())
    };
    let (ended, (answer, took)) = tokio::join!(ends, stop);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((&answer["audit"], &answer["pending"]), (&json!("pending"), &json!([])), "{answer}");
    let count = |status| ended.iter().filter(|ended| **ended == status).count();
    assert!(count(503) > 0 && count(200) + count(503) == tokens.len(), "{ended:?}");
    let kept = fs::read_to_string(app.file("hallpass.db.unjournaled")).unwrap();
    assert_eq!(kept.matches(r#""ended":true"#).count(), 128);
    assert!(kept.len() < 256 * 1024, "{}", kept.len());

    fs::rename(&elsewhere, &database).unwrap();
    eventually("the events", || async { !app.file("hallpass.db.unjournaled").exists() }).await;
    app.finish().await;
}

/// An end that only this process remembers is no end, however often the holder asks for it.
#[tokio::test]
async fn a_token_whose_end_is_in_no_file_is_not_called_ended() {
    let app = TestApp::with(Backend::Memory, "[limits]\nrefusals_per_minute = 0").await;
    let (token, of_stopped) = (app.issue().await, app.issue().await);
    let (database, elsewhere) = (app.file("hallpass.db"), app.file("elsewhere.db"));
    fs::rename(&database, &elsewhere).unwrap();
    // A folder stands where the file would be written.
    let in_the_way = app.file("hallpass.db.unjournaled.new");
    fs::create_dir(&in_the_way).unwrap();
    let end = async |token: &str| app.post_form("/oauth/revoke", &[("token", token)], None).await.status;
    for n in 0..3 {
        assert_eq!(end(&token).await, 503, "{n}");
    }
    let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"});
    assert_eq!(app.admin_post("/v1/revocations", &stop).await.json()["audit"], "volatile");
    assert_eq!(end(&of_stopped).await, 503, "dead by a stop that is as volatile");

    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!((end(&token).await, end(&of_stopped).await), (200, 200));
    let kept = fs::read_to_string(app.file("hallpass.db.unjournaled")).unwrap();
    assert_eq!(kept.matches(r#""ended":true"#).count(), 2, "{kept}");
    assert_eq!(end(&token).await, 200);
    fs::rename(&elsewhere, &database).unwrap();
    eventually("the events", || async { !app.file("hallpass.db.unjournaled").exists() }).await;
    assert_eq!(app.events("kind=revocation.stopped").await.len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn room_for_stops_is_kept_again_without_a_restart() {
    let app = TestApp::start(Backend::Memory).await;
    let reserve = app.file("hallpass.db.unjournaled.reserve");
    fs::remove_file(&reserve).unwrap();
    let is_whole = || async { fs::metadata(&reserve).is_ok_and(|file| file.len() == 1 << 20) };
    eventually("the reserve", is_whole).await;
    app.finish().await;
}

/// On a full disk the room that is kept for stops is not spent on ends.
#[tokio::test]
async fn ends_on_a_full_disk_leave_the_room_of_the_stops() {
    let mut broker = Process::prepare(Plan::default());
    let Some(disk) = Disk::mount(&broker.file("data")) else { return };
    broker.boot();
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(broker.exchange().await.token());
    }
    broker.terminate();
    broker.wait();
    disk.fill();
    broker.boot_until("listening, but not ready: the store cannot be written");
    for token in &tokens {
        let end = broker.http.post(format!("{}/oauth/revoke", broker.public));
        let end =
            end.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"));
        assert_eq!(read(end).await.status, 503);
    }
    disk.fill();
    let reserve = broker.file("data/hallpass.db.unjournaled.reserve");
    assert!(reserve.exists() && !broker.file("data/hallpass.db.unjournaled.new").exists());
    let stopped = broker.revoke("agent:payments-refactorer").await;
    assert_eq!(stopped.json()["audit"], "pending", "{}", stopped.text);
    assert!(!reserve.exists());
    disk.fill();
    broker.kill();
    broker.boot_until("listening, but not ready: the store cannot be written");
    assert_eq!(broker.exchange().await.reason(), "revoked");
    disk.free();
    eventually("recovery", || async { broker.get("/readyz").await.status == 200 }).await;
    assert_eq!(broker.exchange().await.reason(), "revoked");
    let _took = eventually("the reserve", || async { reserve.exists() }).await;
    broker.terminate();
    broker.wait();
    broker.holds_every(&tokens);
}
