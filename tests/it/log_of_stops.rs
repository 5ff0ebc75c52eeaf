//! The log tells of the stops: to a start, and to whoever searches it.

use crate::support::broker::decode;
use crate::support::process::{Process, hallpass};

/// Whoever deletes a stop from the tables does not set the agent free: the broker does not start, and says what to do.
#[tokio::test]
async fn a_broker_whose_store_lost_a_stop_does_not_start() {
    let mut broker = Process::start();
    let first = broker.exchange().await.token();
    assert_eq!(broker.revoke("agent:payments-refactorer").await.status, 201);
    broker.terminate();
    assert!(broker.wait().success());
    let database = rusqlite::Connection::open(broker.database()).unwrap();
    let row = "SELECT id, target, at, reason, operator, seq, revision FROM stops";
    database.execute_batch(&format!("CREATE TEMP TABLE kept AS {row}; DELETE FROM stops")).unwrap();
    broker.spawn();
    assert!(!broker.wait().success());
    let log = broker.log();
    for words in ["agent:payments-refactorer", "is missing", "hallpass audit verify", "nobody is set free"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let (verifies, said) = hallpass(&["audit", "verify", "--database"], &broker.database());
    assert!(!verifies && said.contains("missing from the stops"), "{said}");
    // With the stop back it starts, and the agent is as stopped as before.
    let back = "INSERT INTO stops(id, target, at, reason, operator, seq, revision) SELECT * FROM kept";
    database.execute_batch(back).unwrap();
    drop(database);
    broker.boot();
    assert_eq!(broker.exchange().await.reason(), "revoked");
    broker.holds_every(&[first]);
}

/// The same by the broker and from its store: a token's stop, and what was stopped of an agent.
#[tokio::test]
async fn a_search_tells_of_the_stops() {
    let broker = Process::start();
    let token = broker.exchange().await.token();
    let jti = decode(&token)["jti"].as_str().unwrap().to_owned();
    assert_eq!(broker.revoke(&format!("token:{jti}")).await.status, 201);
    assert_eq!(broker.revoke("issuer:ci").await.status, 201);
    assert_eq!(broker.revoke("everything").await.status, 201);
    for (query, option, expected) in [
        (
            format!("token={jti}"),
            ["--token", &jti],
            vec!["everything".to_owned(), "issuer:ci".to_owned(), format!("token:{jti}")],
        ),
        (
            "agent=payments-refactorer".to_owned(),
            ["--agent", "payments-refactorer"],
            vec!["everything".to_owned(), "issuer:ci".to_owned(), format!("token:{jti}")],
        ),
        (
            "owner=team-payments".to_owned(),
            ["--owner", "team-payments"],
            vec!["everything".to_owned(), "issuer:ci".to_owned(), format!("token:{jti}")],
        ),
    ] {
        let answer = broker.admin_get(&format!("/v1/audit/events?{query}")).await.json();
        let events = answer["events"].as_array().unwrap();
        let targets: Vec<&str> = events.iter().filter_map(|event| event["target"].as_str()).collect();
        assert_eq!(targets, expected, "{query}");
        assert_eq!(events.last().unwrap()["kind"], "token.issued");
        let [name, value] = option;
        let file = broker.file("hallpass.toml");
        let (found, lines) = hallpass(&["audit", "search", name, value, "--json", "--config"], &file);
        let offline: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(found && offline == *events, "{query}: {lines}");
    }
}
