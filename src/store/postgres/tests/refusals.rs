//! What a server can refuse, and what it can be that hallpass does not use.

use super::super::connect::unfit;
use super::*;

#[tokio::test]
async fn what_the_server_refuses_is_told_in_own_words() {
    let server = PostgresServer::shared();
    let database = server.database();
    let right = || settings(server, &database);
    server.sql("postgres", "create database latin encoding 'LATIN1' template template0 owner hallpass");
    server.sql("postgres", "create database closed; revoke connect on database closed from public");
    server.sql("postgres", "create database one_by_one connection limit 0");
    server.sql(
        "postgres",
        "create database frozen; alter database frozen set default_transaction_read_only = on",
    );
    server.sql("postgres", "create role barred nologin password 'pg-canary-5ecret'");
    let of = |database: &str| PostgresSettings { database: database.to_owned(), ..right() };
    let by = |username: &str| PostgresSettings { username: username.to_owned(), ..right() };
    for (wrong, why) in [
        (PostgresSettings { password: Some("wrong-canary".into()), ..right() }, Failure::Credentials),
        (PostgresSettings { password: None, ..right() }, Failure::NoPassword),
        (by("nobody"), Failure::Credentials),
        (by("barred"), Failure::NotLetIn),
        (of("no_such"), Failure::NoDatabase),
        (of("closed"), Failure::NotAllowed),
        (of("one_by_one"), Failure::TooManyConnections),
        (of("latin"), Failure::NotUtf8("LATIN1".to_owned())),
        (of("frozen"), Failure::ReadOnly),
        (PostgresSettings { tls: Some(PostgresTls::default()), ..right() }, Failure::NoTls),
    ] {
        assert_eq!(failure(&wrong).await, why, "{wrong:?}");
    }
    let socket = Servers::Unix { folder: server.folder().to_owned(), port: 1 };
    let error = refusal(&PostgresSettings { servers: socket, ..right() }).await;
    let place = server.folder().join(".s.PGSQL.1").display().to_string();
    assert!(
        error.to_string().starts_with(&format!("PostgreSQL at {place}: cannot connect: No such file")),
        "{error}"
    );
    session(&right()).await;
}

#[tokio::test]
async fn one_server_to_wait_for_makes_the_whole_an_outage() {
    let server = PostgresServer::shared();
    let database = server.database();
    let both = Servers::Tcp(vec![address("127.0.0.1", server.port), address("127.0.0.1", 1)]);
    let wrong = PostgresSettings { password: Some("wrong-canary".into()), ..settings(server, &database) };
    assert!(refusal(&wrong).await.is_mistake());
    assert!(!refusal(&PostgresSettings { servers: both, ..wrong }).await.is_mistake());
}

#[tokio::test]
async fn a_standby_is_passed_over() {
    let (primary, mut standby) = (PostgresServer::shared(), PostgresServer::start());
    standby.stop();
    standby.make_standby();
    standby.restart();
    let mut settings = settings(&standby, "postgres");
    assert_eq!(failure(&settings).await, Failure::Standby);
    settings.servers =
        Servers::Tcp(vec![address("127.0.0.1", standby.port), address("127.0.0.1", primary.port)]);
    let client = session(&settings).await;
    assert_eq!(text(&client, "select inet_server_port()::text").await, primary.port.to_string());
}

#[test]
fn old_versions_and_other_encodings_are_unfit() {
    let judge = |version: &'static str, encoding: &'static str| {
        unfit(move |name| match name {
            "server_version" => Some(version),
            "server_encoding" => Some(encoding),
            _ => None,
        })
    };
    for version in ["14", "14.0", "15.6 (Debian 15.6-0+deb12u1)", "17beta1", "18devel", "EnterpriseDB"] {
        assert_eq!(judge(version, "UTF8"), None, "{version}");
    }
    for version in ["13.14", "9.6.24", "8.4"] {
        assert_eq!(judge(version, "UTF8"), Some(Failure::TooOld(version.to_owned())));
    }
    assert_eq!(judge("16", "SQL_ASCII"), Some(Failure::NotUtf8("SQL_ASCII".to_owned())));
}
