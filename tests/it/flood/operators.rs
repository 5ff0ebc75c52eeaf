//! Callers of the admin listener with a key of the weakest role, or without one: whatever they ask for, a stop finds a
//! seat.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::digest::Digest;

use super::attackers::{address, answers_that_nobody_takes, ask_on, drip};
use super::stops;
use crate::support::process::{Plan, Process};

/// More than the listener has seats.
const CALLERS: usize = 400;
const AUDITOR: &str = "an-auditor-of-the-tests";

fn with_auditor() -> Process {
    let auditor = Digest::of(AUDITOR.as_bytes());
    let more =
        format!("[[admin.operator]]\nname = \"auditor\"\nroles = [\"auditor\"]\nkey_sha256 = \"{auditor}\"");
    Process::with(Plan { more, log: "warn,hallpass::cli=info", ..Plan::default() })
}

fn get(path: &str, key: bool) -> Vec<u8> {
    let key = if key { format!("authorization: Bearer {AUDITOR}\r\n") } else { String::new() };
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n{key}\r\n").into_bytes()
}

/// `hallpass revoke`, which has to succeed; how long it took.
async fn revoke(broker: &Process) -> Duration {
    let begun = Instant::now();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["revoke", "agent:payments-refactorer", "--reason", "a flood"]);
    command.args(["--admin-url", &broker.admin, "--key-file"]).arg(broker.file("operator.key"));
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed()
}

/// From 257 connections on it took 5 s and longer, or ended with exit code 1. `scripts/siege` holds each stop to one
/// second; here the callers, the broker and the command share two cores with other tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_callers_keeps_a_stop_from_a_seat() {
    let broker = with_auditor();
    let mix = [
        get("/v1/agents", true),
        get("/metrics", false),
        get("/v1/revocations", true),
        get("/nope", false),
        get("/v1/agents", false),
        get("/openapi.json", false),
        get("/v1/audit/export", true),
        get("/v1/audit/events", true),
    ];
    // Twenty at once on a connection of HTTP/2, whose answers nobody takes.
    let http2 = [answers_that_nobody_takes(20)];
    for requests in [&mix[..1], &mix[1..2], &mix[3..4], &mix, &http2] {
        let answers = Arc::default();
        let callers = ask_on(address(&broker.admin), CALLERS, requests, &answers);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut took = Vec::new();
        for _ in 0..3 {
            took.push(revoke(&broker).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        drop(callers);
        took.sort_unstable();
        let asked = String::from_utf8_lossy(&requests[0]);
        assert!(AtomicU64::load(&answers, Ordering::Relaxed) > 500, "{answers:?} answers to {asked}");
        assert!(
            took[1] < Duration::from_secs(2) && took[2] < Duration::from_secs(4),
            "{took:?} beside {asked}"
        );
    }
}

/// Neither a head nor a body that comes a byte at a time keeps a seat that others need.
#[tokio::test]
async fn requests_that_drip_keep_no_operator_out() {
    let broker = with_auditor();
    let body = format!(
        "POST /v1/explain HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {AUDITOR}\r\ncontent-length: 60000\r\n\r\n{{"
    );
    for first in ["GET /v1/agents HTTP/1.1\r\nx: ", &body] {
        let dripping = drip(
            address(&broker.admin),
            [127, 0, 0, 1],
            CALLERS,
            first.as_bytes(),
            Duration::from_millis(80),
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..2 {
            stops(&broker).await;
        }
        drop(dripping);
    }
}
