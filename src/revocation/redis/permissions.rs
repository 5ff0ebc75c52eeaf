//! What the user of the ACL may do: asked at each new connection, so that a missing permission is named before anybody
//! needs it. Nothing is written for that: each command is one that the server checks and then refuses, or one about a key
//! that is not there.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError};

use super::words;

/// In the slot of all others; never written.
const NOWHERE: &str = "hallpass:{revocation}:permissions";

/// Every command that a node needs, as the ACL calls it, and a call of it that changes nothing.
const NEEDED: [(&str, &[&str]); 15] = [
    ("ping", &["PING"]),
    ("info", &["INFO", "replication"]),
    ("set", &["SET", NOWHERE, "1", "NEITHER"]),
    ("hget", &["HGET", NOWHERE, "field"]),
    ("hmget", &["HMGET", NOWHERE, "field"]),
    ("hgetall", &["HGETALL", NOWHERE]),
    ("hset", &["HSET", NOWHERE, "field", "value", "odd"]),
    ("hdel", &["HDEL", NOWHERE, "field"]),
    ("hscan", &["HSCAN", NOWHERE, "0"]),
    ("xadd", &["XADD", NOWHERE, "none", "field", "value"]),
    ("xlen", &["XLEN", NOWHERE]),
    ("xread", &["XREAD", "STREAMS", NOWHERE, "0"]),
    ("xrevrange", &["XREVRANGE", NOWHERE, "+", "-"]),
    ("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "1", NOWHERE]),
    ("script|load", &["SCRIPT", "LOAD", "return 0"]),
];

/// # Errors
/// Which permissions are missing, or that there was no answer.
pub(super) async fn check(
    connection: &MultiplexedConnection,
    username: Option<&str>,
    within: Duration,
) -> Result<(), String> {
    let (mut missing, mut keys_are_missing) = (Vec::new(), false);
    let answers = NEEDED.iter().map(async |(name, words)| {
        let (command, mut connection) = (command(words), connection.clone());
        (*name, command.exec_async(&mut connection).await)
    });
    for (name, answer) in join_all(answers).await {
        match answer.as_ref().err().map(denied) {
            Some(Denied::Command) => missing.push(name),
            Some(Denied::Keys) => keys_are_missing = true,
            Some(Denied::NoAnswer(err)) => return Err(words::why(err, within)),
            Some(Denied::Nothing) | None => {}
        }
    }
    for name in ["multi", "exec"] {
        // Where `MULTI` is answered and `EXEC` is not allowed, the connection is of no use, and is dropped.
        match command(&[name]).exec_async(&mut connection.clone()).await {
            Err(err) if matches!(err.code(), Some("NOPERM" | "EXECABORT")) => missing.push(name),
            _ => {}
        }
    }
    if missing.is_empty() && !keys_are_missing {
        return Ok(());
    }
    let user = username.unwrap_or("default");
    let keys = if keys_are_missing { " ~hallpass:{revocation}:*" } else { "" };
    let commands: String = missing.iter().map(|name| format!(" +{name}")).collect();
    Err(format!(
        "its user may not do what hallpass needs (NOPERM): run ACL SETUSER {user}{keys}{commands}, and keep it in its ACL"
    ))
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

enum Denied<'a> {
    Command,
    Keys,
    /// It was let through, and refused for what it says.
    Nothing,
    NoAnswer(&'a RedisError),
}

fn denied(err: &RedisError) -> Denied<'_> {
    match err.code() {
        Some("NOPERM") if err.detail().is_some_and(|detail| detail.contains("key")) => Denied::Keys,
        Some("NOPERM") => Denied::Command,
        Some(_) => Denied::Nothing,
        None => Denied::NoAnswer(err),
    }
}
