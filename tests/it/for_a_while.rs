//! Stops for a while: they end by themselves, and never early.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{BOTH, Backend, TestApp};
use crate::support::command::{HALLPASS, bare, ran};

const AGENT: &str = "agent:payments-refactorer";

async fn stop(app: &TestApp, seconds: Option<u64>) -> Value {
    let body = json!({"target": AGENT, "reason": "a test", "for_seconds": seconds});
    let answer = app.admin_post("/v1/revocations", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

async fn is_stopped(app: &TestApp) -> bool {
    let answer = app.exchange(&app.proof(), &[]).await;
    assert!(answer.status == 200 || answer.reason() == "revoked", "{}", answer.text);
    answer.status != 200
}

async fn until_lifted(app: &TestApp) {
    let began = Instant::now();
    // Not by asking for tokens: refusals have a rate.
    while !lifts(app).await.iter().any(|lift| lift["operator"] == "hallpass") {
        assert!(began.elapsed() < Duration::from_secs(15), "it is not lifted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!is_stopped(app).await);
}

async fn lifts(app: &TestApp) -> Vec<Value> {
    app.events("kind=revocation.lifted").await
}

#[tokio::test]
async fn a_stop_for_a_while_is_lifted_by_the_broker_and_by_no_clock_that_is_set() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let token = app.issue().await;
        let began = Instant::now();
        let answer = stop(&app, Some(4)).await;
        assert!(answer["until"].as_str().is_some(), "{answer}");
        let listed = app.admin_get("/v1/revocations?active=true").await.json();
        assert_eq!(listed["revocations"][0]["until"], answer["until"]);
        app.hands.push(86_400);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(
            began.elapsed() > Duration::from_secs(4) || is_stopped(&app).await,
            "a clock that was set ended it"
        );
        app.hands.push(-86_400);
        until_lifted(&app).await;
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
        let lifts = lifts(&app).await;
        assert_eq!((lifts.len(), &lifts[0]["operator"]), (1, &json!("hallpass")), "{lifts:?}");
        assert_eq!(lifts[0]["reason"], "the time of the stop is over as local wanted it");
        assert!(!app.active(&token).await, "its end resurrected a token");
        let fresh = app.issue().await;
        assert!(app.active(&fresh).await);
        app.finish().await;
    }
}

#[tokio::test]
async fn a_stop_for_a_while_outlives_restarts_and_ends_after_them() {
    let mut app = TestApp::start(Backend::Memory).await;
    stop(&app, Some(5)).await;
    let began = Instant::now();
    app.shutdown().await;
    // The clock is wrong when it starts: what nobody witnessed does not count.
    app.hands.push(86_400);
    app.boot().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(is_stopped(&app).await, "a restart ended it");
    app.hands.push(-86_400);
    app.shutdown().await;
    app.boot().await;
    assert!(is_stopped(&app).await);
    until_lifted(&app).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    app.finish().await;
}

/// Whoever stops it again wants it stopped at least as long as that.
#[tokio::test]
async fn a_second_stop_makes_the_first_longer_and_never_shorter() {
    let app = TestApp::start(Backend::Memory).await;
    let first = stop(&app, Some(2)).await;
    let shorter = stop(&app, Some(1)).await;
    assert_eq!(shorter["until"], first["until"]);
    let longer = stop(&app, Some(5)).await;
    assert!(longer["until"].as_str() > first["until"].as_str(), "{longer}");
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(is_stopped(&app).await);
    let endless = stop(&app, None).await;
    assert_eq!((endless.get("until"), &endless["already_stopped"]), (None, &json!(true)));
    let still = stop(&app, Some(1)).await;
    assert_eq!(still.get("until"), None, "{still}");
    tokio::time::sleep(Duration::from_millis(4_000)).await;
    assert!(is_stopped(&app).await, "the second stop had no end");
    assert_eq!(lifts(&app).await.len(), 0);
    app.finish().await;
}

#[tokio::test]
async fn the_command_says_until_when() {
    let app = TestApp::start(Backend::Memory).await;
    let command = async |arguments: &[&str]| {
        let mut command = bare(HALLPASS);
        command.args(arguments).env("HALLPASS_ADMIN_URL", &app.admin);
        command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
        ran(command).await
    };
    let done = command(&["revoke", AGENT, "--for", "2h", "--reason", "a test"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("\n  until "), "{done:?}");
    let listed = command(&["revocations"]).await.out;
    assert!(listed.contains("UNTIL"), "{listed}");
    for wrong in ["0s", "2", "91d", "-1h"] {
        let refused = command(&["revoke", AGENT, &format!("--for={wrong}"), "--reason", "a test"]).await;
        assert!(matches!(refused.code, Some(1..=3)), "{wrong}: {refused:?}");
    }
    app.finish().await;
}
