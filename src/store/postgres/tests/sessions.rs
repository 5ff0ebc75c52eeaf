//! What holds for a session, and how long a dead server is waited for.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn a_session_is_set_whatever_the_database_says() {
    let server = PostgresServer::shared();
    let database = server.database();
    for setting in ["synchronous_commit = off", "statement_timeout = 0", "timezone = 'Asia/Tokyo'"] {
        server.sql("postgres", &format!("alter database {database} set {setting}"));
    }
    let socket = Servers::Unix { folder: server.folder().to_owned(), port: server.port };
    for servers in [settings(server, &database).servers, socket] {
        let client = session(&PostgresSettings { servers, ..settings(server, &database) }).await;
        for (setting, value) in [
            ("statement_timeout", "10s"),
            ("lock_timeout", "7s"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
            ("timezone", "UTC"),
            ("client_encoding", "UTF8"),
            ("application_name", "hallpass"),
            ("search_path", "\"$user\", public"),
        ] {
            assert_eq!(text(&client, &format!("show {setting}")).await, value, "{setting}");
        }
        client.batch_execute("create table if not exists t (n int)").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_the_next_is_tried() {
    let server = PostgresServer::shared();
    let database = server.database();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = address("127.0.0.1", silent.local_addr().unwrap().port());
    let frozen = PostgresServer::start();
    frozen.freeze(true);
    let dead = address("127.0.0.1", 1);
    // No resolver asks the network for a label that is too long.
    let unknown = address(&format!("{}.invalid", "x".repeat(64)), 5432);
    let alive = address("127.0.0.1", server.port);
    let began = Instant::now();
    let in_order = vec![unknown.clone(), dead.clone(), silent, alive.clone()];
    let client =
        session(&PostgresSettings { servers: Servers::Tcp(in_order), ..settings(server, &database) }).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(text(&client, "select current_database()::text").await, database);

    let frozen_only = Servers::Tcp(vec![unknown, dead, address("127.0.0.1", frozen.port)]);
    let error = refusal(&PostgresSettings { servers: frozen_only, ..settings(server, &database) }).await;
    assert!(!error.is_mistake());
    let failures: Vec<&Failure> = error.attempts.iter().map(|(_, failure)| failure).collect();
    assert!(
        matches!(failures[..], [Failure::UnknownHost(_), Failure::Unreachable(_), Failure::Late(5000)]),
        "{failures:?}"
    );
    let told = error.to_string();
    assert!(told.contains("x.invalid:5432: the name has no address: "), "{told}");
    assert!(told.contains("; PostgreSQL at 127.0.0.1:1: cannot connect: Connection refused"), "{told}");
}

#[tokio::test]
async fn a_server_that_was_stopped_or_killed_is_back_with_what_was_committed() {
    let mut server = PostgresServer::start();
    let database = server.database();
    let settings = settings(&server, &database);
    let client = session(&settings).await;
    client.batch_execute("create table t (n int); insert into t values (1)").await.unwrap();
    server.kill();
    assert!(matches!(failure(&settings).await, Failure::Unreachable(_)));
    // The processes of sessions end when they notice that the server is gone.
    let begun = std::time::Instant::now();
    while client.query_one("select 1", &[]).await.is_ok() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.restart();
    let client = session(&settings).await;
    assert_eq!(text(&client, "select count(*)::text from t").await, "1");
    server.stop();
    assert!(client.query_one("select 1", &[]).await.is_err());
    server.restart();
    assert_eq!(text(&session(&settings).await, "select count(*)::text from t").await, "1");
}
