//! A store in PostgreSQL as operators handle it: it is moved there, dumped and restored, and goes away for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::broker::{Backend, Hands, TestApp};
use crate::support::command::{HALLPASS, bare, ran};
use crate::support::fleet::Kind;
use crate::support::postgres::PostgresServer;
use crate::support::proxy::Proxy;

const AGENT: &str = "agent:payments-refactorer";

#[tokio::test]
async fn a_store_moves_into_postgresql_with_its_stops_tokens_and_root() {
    let mut app = TestApp::start(Backend::Redis).await;
    let alive = app.issue().await;
    let stop = app.revoke("token:01a1ee56-5e00-7000-8000-000000000014").await;
    let checkpoint = app.admin_get("/v1/audit/checkpoint").await.text;
    app.shutdown().await;
    app.turn_to_postgres(PostgresServer::shared().database());
    let copy = || {
        let mut command = bare(HALLPASS);
        let (file, config) = (app.file("hallpass.db"), app.file("hallpass.toml"));
        command.args(["store", "copy", "--from"]).arg(file).arg("--config").arg(config);
        ran(command)
    };
    let first = copy().await;
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(first.out.contains("a whole copy that verifies"), "{}", first.out);
    let again = copy().await;
    assert!(
        again.code == Some(1) && again.err.contains("holds") && again.err.contains("empty"),
        "{}",
        again.err
    );

    app.boot().await;
    assert!(app.active(&alive).await, "the keys and the history are the same");
    let after = app.admin_get("/v1/audit/checkpoint").await.text;
    let size = |note: &str| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let proof =
        app.admin_get(&format!("/v1/audit/proof?first={}&second={}", size(&checkpoint), size(&after))).await;
    assert_eq!(proof.status, 200, "{}", proof.text);
    app.lift(&stop).await;
    app.revoke(AGENT).await;
    assert!(!app.active(&alive).await);
    app.finish().await;
}

/// As OPERATIONS.md says: `pg_dump`, and `pg_restore` into an empty database. What was stopped since is in Redis.
#[tokio::test]
async fn a_dump_is_restored_and_takes_over_what_redis_remembers() {
    let mut app = TestApp::first_on(Kind::Postgres, Hands::default()).await;
    let before = app.issue().await;
    let dump = app.file("dump");
    app.dump(&dump);
    let stop = app.revoke(AGENT).await;
    app.shutdown().await;
    app.restore_dump(&dump);
    app.boot().await;
    assert!(!app.active(&before).await);
    let answer = app.exchange(&app.proof(), &[]).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(app.events("kind=store.restored").await.len(), 1);
    app.lift(&stop).await;
    let fresh = app.issue().await;
    assert!(app.active(&fresh).await && !app.active(&before).await);
    app.forget_releases();
    app.finish().await;
}

/// While PostgreSQL is away no token is issued, a stop takes effect all the same, and all goes on by itself.
#[tokio::test]
async fn an_outage_stops_issuance_and_no_stop() {
    let app = TestApp::first_on(Kind::Postgres, Hands::default()).await;
    let token = app.issue().await;
    app.lose_store();
    let began = Instant::now();
    let answer = app.exchange(&app.proof(), &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let answer = app.admin_post("/v1/revocations", &json!({"target": AGENT, "reason": "a test"})).await;
    assert_eq!((answer.status, answer.json()["audit"].as_str()), (201, Some("pending")), "{}", answer.text);
    assert!(!app.active(&token).await);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    app.give_store_back();
    let began = Instant::now();
    while app.admin_get("/v1/revocations?active=true").await.text.matches("\"id\"").count() != 1 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let listed = app.admin_get("/v1/revocations?active=true").await.json();
    app.lift(listed["revocations"][0]["id"].as_str().unwrap()).await;
    let fresh = app.issue().await;
    assert!(app.active(&fresh).await && !app.active(&token).await);
    app.finish().await;
}

/// One broker's network swallows what it sends to PostgreSQL. Nobody waits for that: it stops whom it is told to stop, answers
/// what it is asked, and the other goes on issuing; once the network is back, the stop is in the log.
#[tokio::test]
async fn a_broker_that_postgresql_does_not_answer_stops_and_answers_in_time() {
    let a = TestApp::first_on(Kind::Postgres, Hands::default()).await;
    let (redis, server) = (a.redis.as_ref().unwrap().port, PostgresServer::shared().port);
    let proxy = Proxy::to(server).await;
    let through = |folder: &std::path::Path| {
        let file = folder.join("hallpass.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let [direct, through] = [server, proxy.port].map(|port| format!("postgres://127.0.0.1:{port}/"));
        std::fs::write(&file, text.replacen(&direct, &through, 1)).unwrap();
    };
    let b = a.beside_after("broker-b", Hands::default(), redis, through).await;
    let token = b.issue().await;
    assert!(a.active(&token).await);

    proxy.black_hole();
    let began = Instant::now();
    let answer = b.admin_post("/v1/revocations", &json!({"target": AGENT, "reason": "a test"})).await;
    let told = answer.json();
    assert_eq!((answer.status, told["audit"].as_str()), (201, Some("pending")), "{}", answer.text);
    assert_eq!((&told["confirmed"], &told["pending"]), (&json!(["broker-a", "broker-b"]), &json!([])));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(!b.active(&token).await && !a.active(&token).await);
    assert_eq!(a.exchange(&a.proof(), &[]).await.status, 400);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    proxy.pass();
    let began = Instant::now();
    let numbered = loop {
        let listed = a.admin_get("/v1/revocations?active=true").await.json();
        if let Some(id) = listed["revocations"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{listed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    a.lift(&numbered).await;
    for app in [&a, &b] {
        let began = Instant::now();
        while app.exchange(&app.proof(), &[]).await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(!a.active(&token).await && !b.active(&token).await);
    b.leave().await;
    a.finish().await;
}
