//! Callers of the public listener, and of both with TLS, who send a byte now and then: what drips keeps no seat that
//! others need.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::attackers::{address, drip, most_of_a_body};
use crate::support::process::{Plan, Process};
use crate::support::tls::{Authority, Files};

/// The begin of a ClientHello of 60,000 bytes, in a record of 16,000.
const ENDLESS_HELLO: &[u8] = b"\x16\x03\x01\x3e\x80\x01\x00\xea\x60\x03\x03";

/// The public listener's seats, of which one source has most.
const FEW: &str = "[limits]\nconnections = 40\nconnections_per_source = 30\n";

fn broker(more: String) -> Process {
    Process::with(Plan { more, log: "warn,hallpass::cli=info", ..Plan::default() })
}

/// From two sources, more than there are seats.
fn take_all(broker: &Process, first: &[u8]) -> [JoinSet<()>; 2] {
    let every = Duration::from_millis(400);
    [2, 3].map(|last| drip(address(&broker.public), [127, 0, 0, last], 28, first, every))
}

/// Without an age for handshakes, 300 connections of 12 bytes a second kept every operator out.
#[tokio::test]
async fn handshakes_that_drip_keep_no_operator_out() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let broker = broker(files.section("admin"));
    let every = Duration::from_millis(80);
    let dripping = drip(address(&broker.admin), [127, 0, 0, 1], 300, ENDLESS_HELLO, every);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let url = format!("{}/v1/revocations", broker.admin.replace("http:", "https:"));
    for _ in 0..3 {
        let begun = Instant::now();
        let stop = authority.http(None).post(&url).bearer_auth(&broker.operator);
        let body = r#"{"target": "agent:payments-refactorer", "reason": "a flood"}"#;
        let sent = tokio::time::timeout(Duration::from_secs(10), stop.body(body).send()).await;
        let answer = sent.expect("an answer to the stop").unwrap();
        assert_eq!(answer.status(), 201);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    drop(dripping);
}

/// Every byte of them used to be progress.
#[tokio::test]
async fn handshakes_that_drip_keep_no_agent_out() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let broker = broker(format!("{FEW}{}", files.section("server")));
    let url = format!("{}/healthz", broker.public.replace("http:", "https:"));
    let dripping = take_all(&broker, ENDLESS_HELLO);
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..2 {
        let asked = authority.http(None).get(&url).timeout(Duration::from_secs(8)).send().await;
        assert_eq!(asked.expect("a handshake").status(), 200);
    }
    drop(dripping);
}

/// With room for all, a handshake has ten seconds for each whole message, however steadily its bytes come.
#[tokio::test]
async fn a_handshake_that_drips_ends() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let broker = broker(files.section("server"));
    let begun = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(address(&broker.public)).await.unwrap().into_split();
    writer.write_all(ENDLESS_HELLO).await.unwrap();
    let mut rest = Vec::new();
    let dripping = async {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = dripping => {}
        _ = reader.read_to_end(&mut rest) => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("not ended after 30 s"),
    }
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn requests_that_drip_keep_no_agent_out() {
    let broker = broker(FEW.to_owned());
    let body = most_of_a_body(100);
    for first in [&b"POST /oauth/token HTTP/1.1\r\nx: "[..], &body[..body.len() - 90]] {
        let dripping = take_all(&broker, first);
        tokio::time::sleep(Duration::from_secs(3)).await;
        // On a connection of its own each.
        for _ in 0..2 {
            #[expect(clippy::disallowed_methods, reason = "the test's own client")]
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let asked = client.get(format!("{}/healthz", broker.public)).timeout(Duration::from_secs(8));
            assert_eq!(asked.send().await.expect("an answer").status(), 200);
        }
        drop(dripping);
    }
}
