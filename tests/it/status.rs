//! `hallpass status`: what one broker tells an operator of the whole installation.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{Backend, Hands, TestApp};
use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::fleet::Kind;

async fn status(app: &TestApp) -> Value {
    let answer = app.admin_get("/v1/status").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.text);
    answer.json()
}

/// Waits until the status of `app` is as wanted.
async fn until(app: &TestApp, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = status(app).await;
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn command(app: &TestApp, more: &[&str]) -> Ran {
    let mut command = bare(HALLPASS);
    command.arg("status").args(more).env("HALLPASS_ADMIN_URL", &app.admin);
    command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
    let ran = ran(command).await;
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80) || more == ["--json"], "{}", ran.out);
    ran
}

fn names(status: &Value) -> Vec<&str> {
    status["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect()
}

async fn two(kind: Kind, hands: [Hands; 2]) -> (TestApp, TestApp) {
    let [one, other] = hands;
    let a = TestApp::first_on(kind, one).await;
    let b = a.beside("broker-b", other, a.redis.as_ref().unwrap().port).await;
    until(&a, |status| !status["nodes"][1]["clock_offset_ms"].is_null()).await;
    (a, b)
}

async fn two_brokers_are_told_of_with_all_that_they_stand_on(kind: Kind) {
    let (a, b) = two(kind, Default::default()).await;
    a.revoke("agent:payments-refactorer").await;
    let seen = a.http().post(format!("{}/v1/revocations/seen", b.admin)).bearer_auth("ledger-key");
    assert_eq!(a.send(seen.json(&json!({"follower": "pod-1", "id": null}))).await.status, 200);

    let told = until(&a, |status| !status["enforcement_points"].as_array().unwrap().is_empty()).await;
    assert_eq!((&told["status"], &told["degraded"]), (&json!("ok"), &json!([])), "{told:#}");
    assert_eq!(names(&told), ["broker-a", "broker-b"]);
    let registry = &told["broker"]["registry"];
    assert!(registry.as_str().unwrap().starts_with("sha256:"));
    for node in told["nodes"].as_array().unwrap() {
        assert_eq!((&node["alive"], &node["version"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))));
        assert_eq!(&node["registry"], registry, "{told:#}");
        assert!(node["started"].as_str().unwrap().ends_with('Z'));
        assert!(node["clock_offset_ms"].as_i64().unwrap().abs() <= 2_500, "{told:#}");
        assert!(node["silent_ms"].as_u64().unwrap() < 10_000, "{told:#}");
    }
    assert_eq!(told["broker"]["agents"], 1);
    let point = &told["enforcement_points"][0];
    assert_eq!(point["name"], "ledger/pod-1");
    let store = if kind == Kind::Postgres { "postgres" } else { "sqlite" };
    assert_eq!(told["store"]["kind"], store);
    assert_eq!((&told["store"]["reachable"], &told["store"]["writable"]), (&json!(true), &json!(true)));
    assert!(told["store"]["latency_ms"].as_f64().unwrap() > 0.0 && told["redis"]["usable"] == true);
    assert!(told["redis"]["latency_ms"].as_f64().unwrap() > 0.0, "{told:#}");
    assert_eq!((told["keys"].as_array().unwrap().len(), &told["keys"][0]["signs"]), (1, &json!(true)));
    assert!(told["next_rotation"].as_str().unwrap() > told["keys"][0]["signs_from"].as_str().unwrap());
    assert_eq!(told["stops"], json!({"in_force": 1, "waiting": 0}));
    assert_eq!(told["last_drill"], Value::Null);
    let drilled = a.admin_post("/v1/drill", &json!({})).await;
    assert_eq!(drilled.status, 200, "{}", drilled.text);
    let last = &until(&a, |status| status["last_drill"]["at"].is_string()).await["last_drill"];
    assert!(last["passed"].is_boolean(), "{last}");

    let shown = command(&a, &[]).await;
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{}", shown.out);
    for word in ["broker-a 0.1.0 is well", "broker-b", "ledger/pod-1", store, "stops in force", "this one"] {
        assert!(shown.out.contains(word), "{word}: {}", shown.out);
    }
    let json = command(&a, &["--json"]).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["keys"], told["keys"]);

    // Other agent files at one of them: seen at once, and a fault only after a minute.
    let file = b.file("agents/payments-refactorer.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"read\", \"push\"", "\"read\"")).unwrap();
    let told = until(&a, |status| status["nodes"][1]["registry"] != status["nodes"][0]["registry"]).await;
    assert_eq!(told["status"], "ok");

    b.leave().await;
    let told = until(&a, |status| names(status) == ["broker-a"]).await;
    assert_eq!(told["status"], "ok", "it ended in good order: {told:#}");
    a.finish().await;
}

#[tokio::test]
async fn two_brokers_of_one_sqlite_are_told_of() {
    two_brokers_are_told_of_with_all_that_they_stand_on(Kind::OneSqlite).await;
}

#[tokio::test]
async fn two_brokers_on_postgres_are_told_of() {
    two_brokers_are_told_of_with_all_that_they_stand_on(Kind::Postgres).await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_ahead_is_named_with_what_to_do() {
    let (a, b) = two(Kind::OneSqlite, Default::default()).await;
    b.hands.push(3_600);
    let told = until(&a, |status| status["status"] == "degraded").await;
    let what = told["degraded"][0]["what"].as_str().unwrap();
    assert!(what.starts_with("clock: that of broker-b is 3") && what.contains("ahead"), "{what}");
    let ready = a.admin_get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["degraded"][0]), (200, &json!(what)));
    let shown = command(&a, &[]).await;
    assert_eq!(shown.code, Some(1), "{}", shown.out);
    assert!(shown.out.contains("! clock: that of broker-b") && shown.out.contains("do: set the clocks"));
    assert!(shown.err.contains("is degraded"), "{}", shown.err);
    b.leave().await;
    a.finish().await;
}

/// A version before tells the kill switch alone, and one after tells more; what is no report at all harms nobody.
#[tokio::test]
async fn brokers_of_other_versions_are_told_of_as_far_as_they_tell() {
    let app = TestApp::start(Backend::Redis).await;
    let redis = app.redis.as_ref().unwrap();
    redis.command::<i64>(&["HSET", "hallpass:{revocation}:seen", "broker-old", "1 0 life 1 s"]);
    let nodes = "hallpass:{revocation}:nodes";
    let newer = r#"{"beat": 1, "version": "9.9.9", "started": "2026-11-29T13:00:00.000Z", "registry": "sha256:1",
        "clock": "2026-11-29T13:00:00.000Z", "more": {}}"#;
    redis.command::<i64>(&["HSET", nodes, "broker-new", newer, "broker-odd", "nonsense", "NO NAME", "{}"]);
    let told = until(&app, |status| names(status).len() == 3).await;
    assert_eq!(names(&told), ["broker-a", "broker-new", "broker-old"], "{told:#}");
    assert_eq!((&told["nodes"][1]["version"], &told["nodes"][2]["version"]), (&json!("9.9.9"), &Value::Null));
    assert_eq!(command(&app, &[]).await.code, Some(0));
    app.finish().await;
}

#[tokio::test]
async fn a_redis_that_is_gone_hides_no_broker() {
    let (mut a, b) = two(Kind::OneSqlite, Default::default()).await;
    a.redis.as_mut().unwrap().kill();
    let told = until(&a, |status| status["redis"]["usable"] == false).await;
    assert_eq!((names(&told), &told["redis"]["latency_ms"]), (vec!["broker-a", "broker-b"], &Value::Null));
    assert_eq!(told["status"], "degraded");
    let part = &told["degraded"][0];
    assert!(part["what"].as_str().unwrap().starts_with("revocation: Redis cannot be used"), "{told:#}");
    assert!(part["remedy"].as_str().unwrap().starts_with("mend Redis"), "{told:#}");
    let shown = command(&a, &[]).await;
    assert!(shown.code == Some(1) && shown.out.contains("cannot be used"), "{}", shown.out);
    b.leave().await;
    a.finish().await;
}

#[tokio::test]
async fn one_broker_alone_is_told_of_and_so_is_a_store_that_is_gone() {
    let app = TestApp::start(Backend::Memory).await;
    let told = status(&app).await;
    assert_eq!((names(&told), &told["redis"]), (vec!["broker-a"], &Value::Null));
    assert_eq!((&told["status"], &told["certificates"]), (&json!("ok"), &json!([])));
    let file = app.file("agents/payments-refactorer.toml");
    std::fs::write(&file, "owner = ").unwrap();
    let told = until(&app, |status| status["status"] == "degraded").await;
    assert!(told["degraded"][0]["remedy"].as_str().unwrap().contains("hallpass check-config"), "{told:#}");

    app.lose_store();
    app.admin_post("/v1/revocations", &json!({"target": "everything", "reason": "a test"})).await;
    let told = until(&app, |status| status["status"] == "unavailable").await;
    assert_eq!(
        (&told["store"]["writable"], &told["stops"]["waiting"]),
        (&json!(false), &json!(1)),
        "{told:#}"
    );
    assert_eq!(told["stops"]["in_force"], 1);
    let shown = command(&app, &[]).await;
    assert_eq!(shown.code, Some(1));
    assert!(
        shown.out.contains("no token can be issued") && shown.err.contains("is not ready"),
        "{}",
        shown.out
    );
    app.give_store_back();
    until(&app, |status| status["stops"] == json!({"in_force": 1, "waiting": 0})).await;
    app.finish().await;
}

#[tokio::test]
async fn only_operators_see_it() {
    let app = TestApp::start(Backend::Memory).await;
    let ask = |request: reqwest::RequestBuilder| app.send(request);
    let url = format!("{}/v1/status", app.admin);
    assert_eq!(ask(app.http().get(&url)).await.status, 401);
    assert_eq!(ask(app.http().get(&url).bearer_auth("ledger-key")).await.status, 401);
    assert_eq!(app.admin_get("/v1/status?x=1").await.status, 400);
    app.finish().await;
}
