//! `hallpass drill`: the kill switch is rehearsed by its real path, whoever is late fails by name, and the stop is always
//! lifted.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{BOTH, Backend, Hands, TestApp};
use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::fleet::Kind;
use crate::support::follower::{Follower, Language};
use crate::support::proxy::Proxy;

const CANARY: &str = "agent:hallpass.drill";

async fn drill(app: &TestApp) -> Value {
    let answer = app.admin_post("/v1/drill", &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// `hallpass drill`, as an operator of this broker runs it.
async fn command(app: &TestApp, more: &[&str]) -> Ran {
    let mut command = bare(HALLPASS);
    command.arg("drill").args(more);
    command.env("HALLPASS_ADMIN_URL", &app.admin);
    command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
    ran(command).await
}

fn names(drill: &Value, confirmed: bool) -> Vec<String> {
    let points = drill["points"].as_array().unwrap().iter();
    let mut names: Vec<String> = points
        .filter(|point| point["confirmed_ms"].is_u64() == confirmed)
        .map(|point| point["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

async fn stops_in_force(app: &TestApp) -> Value {
    app.admin_get("/v1/revocations?active=true").await.json()["revocations"].clone()
}

async fn last(app: &TestApp) -> Value {
    app.admin_get("/v1/drill/last").await.json()["drill"].clone()
}

/// Until the log has such an event.
async fn event(app: &TestApp, kind: &str) -> Value {
    let began = Instant::now();
    loop {
        if let Some(event) = app.events(&format!("kind={kind}")).await.into_iter().next() {
            return event;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no {kind}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metrics(app: &TestApp) -> String {
    app.admin_get("/metrics").await.text
}

#[tokio::test]
async fn everybody_who_follows_confirms_and_nothing_is_left_of_it() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let mut follower = Follower::ready(Language::Python, &app.public, &app.admin, "pod-0").await;
        assert_eq!(last(&app).await, Value::Null);
        assert!(!metrics(&app).await.contains("hallpass_drill_timestamp_seconds{"));
        let token = app.issue().await;
        let found = drill(&app).await;
        assert_eq!((&found["passed"], &found["faults"]), (&json!(true), &json!([])), "{found}");
        assert_eq!(names(&found, true), ["broker-a", "ledger/pod-0"], "{found}");
        for time in ["slowest_ms", "refused_ms", "lifted_ms"] {
            assert!(found[time].as_u64().is_some_and(|ms| (1..5_000).contains(&ms)), "{time}: {found}");
        }
        let kinds: Vec<&str> =
            found["points"].as_array().unwrap().iter().map(|point| point["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"broker") && kinds.contains(&"enforcement_point"), "{found}");
        // Of agents that work nothing was touched.
        assert!(app.active(&token).await && follower.passes(&token));

        assert_eq!(stops_in_force(&app).await, json!([]));
        let lifted = app.admin_get("/v1/revocations?active=false").await.json();
        assert_eq!(lifted["revocations"][0]["target"], CANARY);
        assert_eq!(lifted["revocations"][0]["reason"], "a drill of broker-a");
        let event = event(&app, "drill.passed").await;
        assert_eq!((&event["operator"], &event["agent"]), (&json!("local"), &json!("hallpass.drill")));
        let detail = event["detail"].as_str().unwrap();
        for part in ["drill of broker-a", "ledger/pod-0 confirmed in ", "token refused after ", "lifted in "]
        {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        let last = last(&app).await;
        assert_eq!((&last["passed"], &last["detail"]), (&json!(true), &event["detail"]));
        let metrics = metrics(&app).await;
        for metric in ["hallpass_drill_timestamp_seconds", "hallpass_drill_slowest_seconds"] {
            assert!(metrics.contains(&format!("{metric}{{outcome=\"passed\"}} ")), "{metrics}");
        }
        // The tokens of the canary can do nothing.
        let issued = app.events("kind=token.issued&agent=hallpass.drill").await;
        assert_eq!(issued.len(), 2);
        assert!(issued.iter().all(|event| event.get("permissions").is_none() && event["ttl"] == 60));

        let shown = command(&app, &[]).await;
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.out.starts_with("the drill passed: 2 of 2 confirmed, the slowest in "), "{shown:?}");
        assert!(shown.out.contains("ledger/pod-0  enforcement point  "), "{shown:?}");
        let shown = command(&app, &["--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&shown.out).unwrap()["passed"], true);
        follower.end();
        app.finish().await;
    }
}

#[tokio::test]
async fn a_broker_that_hangs_fails_the_drill_by_name_and_the_stop_is_lifted() {
    one_that_hangs(Kind::OneSqlite).await;
}

#[tokio::test]
async fn so_does_one_on_postgresql() {
    one_that_hangs(Kind::Postgres).await;
}

async fn one_that_hangs(kind: Kind) {
    let a = TestApp::first_on(kind, Hands::default()).await;
    let proxy = Proxy::to(a.redis.as_ref().unwrap().port).await;
    let b = a.beside("broker-b", Hands::default(), proxy.port).await;
    let began = Instant::now();
    while names(&drill(&a).await, true) != ["broker-a", "broker-b"] {
        assert!(began.elapsed() < Duration::from_secs(20), "they did not find each other");
    }
    proxy.black_hole();
    let found = drill(&a).await;
    assert_eq!(found["passed"], false, "{found}");
    assert_eq!(
        (names(&found, false), names(&found, true)),
        (vec!["broker-b".into()], vec!["broker-a".into()])
    );
    let faults: Vec<&str> = found["faults"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        matches!(&faults[..], [fault] if fault.starts_with("broker-b did not confirm within ")),
        "{found}"
    );
    assert!(found["lifted_ms"].is_u64() && found["refused_ms"].is_u64(), "{found}");
    assert_eq!(stops_in_force(&a).await, json!([]));
    let event = event(&a, "drill.failed").await;
    assert!(event["detail"].as_str().unwrap().contains("broker-b did not confirm"), "{event}");
    assert_eq!(last(&a).await["passed"], false);
    assert!(metrics(&a).await.contains("hallpass_drill_timestamp_seconds{outcome=\"failed\"} "));

    let failed = command(&a, &[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("THE DRILL FAILED: broker-b did not confirm within "), "{failed:?}");
    assert!(failed.out.contains("broker-b  broker  NO"), "{failed:?}");

    proxy.pass();
    let began = Instant::now();
    while drill(&a).await["passed"] != true {
        assert!(began.elapsed() < Duration::from_secs(20), "it did not catch up");
    }
    b.leave().await;
    a.finish().await;
}

#[tokio::test]
async fn an_enforcement_point_that_is_held_fails_the_drill_by_name() {
    let app = TestApp::start(Backend::Memory).await;
    let follower = Follower::ready(Language::Python, &app.public, &app.admin, "pod-0").await;
    follower.signal("STOP");
    let found = drill(&app).await;
    follower.signal("CONT");
    assert_eq!((&found["passed"], names(&found, false)), (&json!(false), vec!["ledger/pod-0".to_owned()]));
    assert_eq!(stops_in_force(&app).await, json!([]));
    follower.end();
    app.finish().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_stop_behind() {
    let app = TestApp::start(Backend::Memory).await;
    let follower = Follower::ready(Language::Python, &app.public, &app.admin, "pod-0").await;
    follower.signal("STOP");
    let url = format!("{}/v1/drill", app.admin);
    let request = app.http().post(url).bearer_auth(&app.operator).body("{}");
    let asked = tokio::time::timeout(Duration::from_millis(500), request.send()).await;
    assert!(asked.is_err(), "it waits for the one that is held");
    assert_eq!(stops_in_force(&app).await[0]["target"], CANARY);
    // One at a time.
    let busy = app.admin_post("/v1/drill", &json!({})).await;
    assert_eq!(busy.status, 409, "{}", busy.text);
    event(&app, "drill.failed").await;
    assert_eq!(stops_in_force(&app).await, json!([]));
    follower.signal("CONT");
    follower.end();
    app.finish().await;
}

#[tokio::test]
async fn a_stop_that_a_crash_left_behind_is_lifted_at_the_next_start_and_no_other() {
    let mut app = TestApp::start(Backend::Memory).await;
    let stop = async |app: &TestApp, reason: &str| {
        let body = json!({"target": CANARY, "reason": reason, "for_seconds": 60});
        assert_eq!(app.admin_post("/v1/revocations", &body).await.status, 201);
    };
    // What a drill has written when its broker dies.
    stop(&app, "a drill of broker-a").await;
    app.shutdown().await;
    app.boot().await;
    let event = event(&app, "revocation.lifted").await;
    assert_eq!(event["operator"], "hallpass", "{event}");
    assert_eq!(stops_in_force(&app).await, json!([]));
    assert_eq!(drill(&app).await["passed"], true);

    // Of another broker, whose drill may run.
    stop(&app, "a drill of broker-b").await;
    app.shutdown().await;
    app.boot().await;
    let busy = app.admin_post("/v1/drill", &json!({})).await;
    assert_eq!(busy.status, 409, "{}", busy.text);
    assert_eq!(stops_in_force(&app).await[0]["reason"], "a drill of broker-b");
    app.finish().await;
}

#[tokio::test]
async fn a_drill_that_would_prove_nothing_is_refused_and_one_without_a_store_stops_nothing() {
    let app = TestApp::first_on(Kind::OneSqlite, Hands::default()).await;
    let stop = app.revoke("everything").await;
    let refused = app.admin_post("/v1/drill", &json!({})).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("a stop of everything is in force"), "{}", refused.text);
    let command = command(&app, &[]).await;
    assert_eq!(command.code, Some(3), "{command:?}");
    app.lift(&stop).await;

    app.lose_store();
    let found = drill(&app).await;
    assert_eq!((&found["passed"], &found["points"]), (&json!(false), &json!([])), "{found}");
    assert!(found["faults"][0].as_str().unwrap().contains("got no token: journal_unavailable"), "{found}");
    app.give_store_back();
    let began = Instant::now();
    while drill(&app).await["passed"] != true {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", last(&app).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stops_in_force(&app).await, json!([]));
    app.finish().await;
}

#[tokio::test]
async fn only_admins_may_drill_and_the_schedule_drills_by_itself() {
    let books = hallpass::domain::digest::Digest::of(b"books-key");
    let more =
        format!("[[admin.operator]]\nname = \"books\"\nroles = [\"auditor\"]\nkey_sha256 = \"{books}\"\n");
    let schedule = |folder: &std::path::Path| {
        let file = folder.join("hallpass.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replacen("[revocation]\n", "[revocation]\ndrill_every = \"1s\"\n", 1)).unwrap();
    };
    let app = TestApp::prepared(Backend::Memory, &more, schedule).await;
    let url = |path: &str| format!("{}{path}", app.admin);
    let refused = app.http().post(url("/v1/drill")).bearer_auth("books-key").body("{}");
    assert_eq!(app.send(refused).await.status, 403);
    let nobody = app.http().post(url("/v1/drill")).body("{}");
    assert_eq!(app.send(nobody).await.status, 401);
    let event = event(&app, "drill.passed").await;
    assert_eq!(event["operator"], "hallpass", "{event}");
    let read = app.http().get(url("/v1/drill/last")).bearer_auth("books-key");
    assert_eq!(app.send(read).await.json()["drill"]["operator"], "hallpass");
    assert_eq!(stops_in_force(&app).await, json!([]));
    app.finish().await;
}
