//! A reader of the log that stands still.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::{Plan, Process, eventually};

/// A pipe that nobody reads holds 64 KiB. The broker fills it, and goes on.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_listener_nor_the_end() {
    let (public, admin) = (free_port(), free_port());
    let mut broker = Process::prepare(Plan { log: "debug", ..Plan::default() });
    let pipe = broker.file("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Held open for reading, and never read; for writing too, so that neither end waits for the other.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    broker.log_to(&pipe);
    broker.listen(public, admin);
    broker.spawn();
    let healthy =
        || async { broker.http.get(format!("http://127.0.0.1:{public}/healthz")).send().await.is_ok() };
    eventually("the broker", healthy).await;
    broker.reach(format!("http://127.0.0.1:{public}"), format!("http://127.0.0.1:{admin}"));
    // Each call is a line of 250 bytes or more; one line too many used to hold everything up.
    for _ in 0..1000 {
        let path = format!("{}/healthz", broker.public);
        let answer = broker.http.get(path).timeout(Duration::from_secs(5)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    broker.exchange().await.token();
    let begun = Instant::now();
    assert_eq!(broker.revoke("agent:payments-refactorer").await.status, 201);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(broker.exchange().await.reason(), "revoked");
    broker.terminate();
    assert!(broker.wait().success());
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
