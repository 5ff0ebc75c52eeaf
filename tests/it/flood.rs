//! Public callers who take all they can get: the memory of the broker is bounded, and the kill switch stands.

mod attackers;
mod drips;
mod fleet;
mod log;
mod operators;
pub(crate) mod siege;

use std::time::{Duration, Instant};

use attackers::{
    address, answers_that_nobody_takes, ask_head, heads_of_http2, most_memory, most_of_a_body,
    most_of_a_head, send_and_stay, sockets,
};

use crate::support::broker::AUDIENCE;
use crate::support::issuer::{Issuer, Mood};
use crate::support::process::{Plan, Process, eventually, exchange, read};
use crate::support::signer::Signer;

/// MiB.
const MOST: u64 = 256;

fn broker(before: &str) -> Process {
    Process::with(Plan { before: before.to_owned(), log: "warn,hallpass::cli=info", ..Plan::default() })
}

/// Stops the agent, and holds the broker to it: at once, and in effect.
async fn stops(broker: &Process) {
    let begun = Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(5), broker.revoke("agent:payments-refactorer"));
    let answer = answer.await.expect("an answer to `revoke`");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "revoke took {:?}", begun.elapsed());
}

/// 12 MB of bare heads of HTTP/2, and as many that say the same header again and again, by a byte each.
#[tokio::test]
async fn heads_of_http2_fill_no_memory() {
    let broker = broker("");
    let few = sockets().min(1000);
    for (connections, head) in [(few, heads_of_http2(200, 0)), (few / 4, heads_of_http2(16, 900))] {
        let held = send_and_stay(address(&broker.public), connections, &head).await;
        let memory = most_memory(&broker);
        assert!(memory < MOST, "{memory} MiB");
        drop(held);
    }
    eventually("a token", || async { read(broker.request(&broker.proof())).await.status == 200 }).await;
    stops(&broker).await;
}

/// Each stream takes a byte of an answer of 2 KB, and the rest waits in the broker.
#[tokio::test]
async fn answers_that_nobody_takes_fill_no_memory() {
    let broker = broker("");
    let many = sockets().min(4000);
    let held = send_and_stay(address(&broker.public), many, &answers_that_nobody_takes(90)).await;
    let memory = most_memory(&broker);
    assert!(memory < MOST, "{memory} MiB");
    stops(&broker).await;
    drop(held);
}

/// What other streams of the connection take does not count for those that take nothing.
#[tokio::test]
async fn answers_that_nobody_takes_stay_counted_whatever_else_is_taken() {
    let broker = broker("");
    let counted = || async {
        let metrics = broker.admin_get("/metrics").await.text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("hallpass_request_memory_bytes "));
        line.expect("the metric").parse::<usize>().unwrap()
    };
    let mut held = send_and_stay(address(&broker.public), 1, &answers_that_nobody_takes(99)).await;
    for n in 0..2500 {
        ask_head(&mut held[0], 2 * (99 + n) + 1).await.unwrap();
    }
    // A connection, and 99 answers of 975 bytes, with what HTTP/2 keeps for each.
    let memory = counted().await;
    assert!(memory > 24 * 1024 + 99 * 2048, "{memory} bytes");
    drop(held);
    eventually("the end of the connection", || async { counted().await == 0 }).await;
}

/// More unfinished heads and bodies than the budget holds: what is held longest goes first, and agents get tokens.
#[tokio::test]
async fn unfinished_requests_fill_no_memory_and_keep_nobody_out() {
    let broker = broker("");
    let many = sockets().min(6000) / 2;
    let heads = send_and_stay(address(&broker.public), many, &most_of_a_head(30_000)).await;
    let bodies = send_and_stay(address(&broker.public), many, &most_of_a_body(60_000)).await;
    let memory = most_memory(&broker);
    assert!(memory < MOST, "{memory} MiB");
    assert!(heads.len() + bodies.len() > many, "{} and {}", heads.len(), bodies.len());
    let waited = eventually("a token", || async {
        let asked = broker.request(&broker.proof()).timeout(Duration::from_secs(3)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    });
    assert!(waited.await < Duration::from_secs(8));
    stops(&broker).await;
    drop((heads, bodies));
}

/// Any of them used to take every descriptor, and with that the admin listener.
#[tokio::test]
async fn idle_connections_beyond_the_limit_of_open_files_keep_no_operator_out() {
    // The hard limit too, so that it cannot be raised.
    let broker = broker("ulimit -n 1024");
    let held = send_and_stay(address(&broker.public), 1500, b"").await;
    stops(&broker).await;
    let waited = eventually("a refusal", || async {
        let asked = broker.request(&broker.proof()).timeout(Duration::from_secs(3)).send().await;
        asked.is_ok_and(|answer| answer.status() == 400)
    });
    assert!(waited.await < Duration::from_secs(8), "new callers take the place of idle ones");
    let metrics = broker.admin_get("/metrics").await.text;
    let shed = metrics.lines().find_map(|line| line.strip_prefix("hallpass_public_connections_shed_total "));
    assert!(shed.expect("the metric").parse::<u64>().unwrap() > 0, "{metrics}");
    drop(held);
}

/// Unsigned tokens of an issuer that hangs used to take every turn.
#[tokio::test]
async fn an_issuer_that_hangs_keeps_no_other_caller_waiting() {
    let issuer = Issuer::start().await;
    let (url, jwks) = (issuer.url(), issuer.jwks_url());
    let more = format!(
        "[[issuer]]\nname = \"slow\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\njwks_url = \"{jwks}\"\n"
    );
    let broker = Process::with(Plan { more, log: "warn,hallpass::cli=info", ..Plan::default() });
    let claims = issuer.claims(broker.claims()["iat"].as_i64().unwrap(), AUDIENCE, "nobody");
    // Its keys are at hand.
    assert_eq!(read(broker.request(&issuer.token(claims.clone()))).await.reason(), "no_agent");
    issuer.behave(Mood::Slow(Duration::from_secs(60)));
    let body = exchange(&Signer::es256("unknown").token(&claims));
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\n";
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}{kind}content-length: {}\r\n\r\n{body}", body.len());
    let held = send_and_stay(address(&broker.public), 700, request.as_bytes()).await;
    let begun = Instant::now();
    for _ in 0..5 {
        broker.exchange().await.token();
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let refused = read(broker.request(&Signer::es256("unknown").token(&claims))).await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, "issuer_unavailable"));
    assert_eq!(refused.header("retry-after"), "2");
    drop(held);
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised() {
    let broker = broker("ulimit -Sn 256");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
}
