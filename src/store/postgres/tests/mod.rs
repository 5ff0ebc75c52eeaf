use tokio_postgres::Client;

use super::connect::connect;
use super::connect_error::{ConnectError, Failure};
use super::server::{Options, PostgresServer};
use crate::domain::client_certificate::ClientFiles;
use crate::store::settings::{Address, PostgresSettings, PostgresTls, Servers};

mod cutter;
mod faults;
mod nodes;
mod refusals;
mod sessions;
mod tamper;
mod tls;

/// By TCP, without TLS, with the right password.
pub(in crate::store) fn settings(server: &PostgresServer, database: &str) -> PostgresSettings {
    PostgresSettings {
        servers: Servers::Tcp(vec![address("127.0.0.1", server.port)]),
        database: database.to_owned(),
        username: PostgresServer::USER.to_owned(),
        password: Some(PostgresServer::PASSWORD.into()),
        tls: None,
        spool: server.folder().join("spool"),
    }
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

/// A session whose connection is driven by a task.
async fn session(settings: &PostgresSettings) -> Client {
    let (client, connection) = connect(settings).await.unwrap_or_else(|error| panic!("{error}"));
    tokio::spawn(connection);
    client
}

/// Why there is no connection. No error ever holds the password.
async fn refusal(settings: &PostgresSettings) -> ConnectError {
    let Err(error) = connect(settings).await else { panic!("connected: {settings:?}") };
    let shown = format!("{error} {error:?} {settings:?}");
    assert!(!shown.contains("canary"), "{shown}");
    error
}

/// Why the only server would not do.
async fn failure(settings: &PostgresSettings) -> Failure {
    let error = refusal(settings).await;
    assert_eq!(error.attempts.len(), 1, "{error}");
    assert_eq!(error.is_mistake(), error.attempts[0].1.is_mistake());
    error.attempts[0].1.clone()
}

async fn text(client: &Client, statement: &str) -> String {
    client.query_one(statement, &[]).await.unwrap().get(0)
}
