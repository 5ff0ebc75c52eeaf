//! The broker dies in the middle of its work, or is told to stop: no token without its event, either way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::digest::Digest;
use hallpass::domain::event::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::process::{Process, exchange, hallpass};
use crate::support::redis::RedisServer;

const ROUNDS: u8 = 20;
const CLIENTS: usize = 12;

/// Exchanges proofs until `enough` or the broker is gone. Every token counts that was received, even in
/// an answer that was cut off behind it.
async fn client(request: reqwest::RequestBuilder, load: Arc<Load>) -> Vec<String> {
    let mut tokens = Vec::new();
    while !load.enough.load(Ordering::Relaxed) {
        let Ok(mut answer) = request.try_clone().unwrap().send().await else { break };
        let status = answer.status();
        let mut body = Vec::new();
        let ended = loop {
            match answer.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let text = String::from_utf8_lossy(&body);
        let token = text.split_once("\"access_token\":\"").and_then(|(_, rest)| rest.split_once('"'));
        match token {
            Some((token, _)) => {
                tokens.push(token.to_owned());
                load.tokens.fetch_add(1, Ordering::Relaxed);
            }
            None => assert!(!ended || status != 200, "{text}"),
        }
        if !ended {
            break;
        }
    }
    tokens
}

/// What the clients of one crowd have had.
#[derive(Default)]
struct Load {
    enough: AtomicBool,
    tokens: AtomicUsize,
}

impl Load {
    async fn reaches(&self, tokens: usize) {
        let begun = Instant::now();
        while self.tokens.load(Ordering::Relaxed) < tokens {
            assert!(begun.elapsed() < Duration::from_secs(20), "no load");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn crowd(broker: &Process) -> (JoinSet<Vec<String>>, Arc<Load>) {
    let load = Arc::<Load>::default();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(broker.request(&broker.proof()), Arc::clone(&load)));
    }
    (clients, load)
}

async fn received(mut clients: JoinSet<Vec<String>>) -> Vec<String> {
    let mut tokens = Vec::new();
    while let Some(theirs) = clients.join_next().await {
        tokens.extend(theirs.unwrap());
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_twenty_times_no_token_lacks_its_event() {
    let redis = RedisServer::start();
    let mut broker = Process::start();
    let mut tokens = Vec::new();
    for round in 0..ROUNDS {
        let (clients, load) = crowd(&broker);
        // After 1 to 128 tokens and up to 16 ms, the same in every run.
        let moment = Digest::of(&[round]).0;
        load.reaches(1 + usize::from(moment[0] / 2)).await;
        tokio::time::sleep(Duration::from_micros(u64::from(moment[1]) * 64)).await;
        broker.kill();
        tokens.extend(received(clients).await);
        // An auditor need not wait for the broker to come back.
        hallpass::cli::audit::verify_file(&broker.database(), None).expect("an unbroken log");
        let url = if round % 4 == 2 { redis.url().to_string() } else { "memory:".to_owned() };
        broker.revoke_by(&url);
        broker.boot();
    }
    broker.holds_every(&tokens);
    assert_eq!(broker.events(Some(Kind::BrokerStarted)).len(), usize::from(ROUNDS) + 1);
    let (verified, said) = hallpass(&["audit", "verify", "--database"], &broker.database());
    assert!(verified, "{said}");
    let last = broker.exchange().await.token();
    broker.holds_every(&[last]);
}

/// Half a request: its head, and the body but for its last byte.
async fn begun(broker: &Process) -> (TcpStream, u8) {
    let body = exchange(&broker.proof());
    let (last, most) = body.as_bytes().split_last().unwrap();
    let head = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: hallpass\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(broker.public.trim_start_matches("http://")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(most).await.unwrap();
    (stream, *last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_finishes_what_is_in_flight() {
    let mut broker = Process::start();
    let idle = TcpStream::connect(broker.public.trim_start_matches("http://")).await.unwrap();
    let mut in_flight = Vec::new();
    for _ in 0..8 {
        in_flight.push(begun(&broker).await);
    }
    let (clients, load) = crowd(&broker);
    load.reaches(30).await;
    broker.terminate();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(
        broker.request(&broker.proof()).send().await.is_err(),
        "a new connection after the order to stop"
    );
    let mut tokens = Vec::new();
    for (mut stream, last) in in_flight {
        stream.write_all(&[last]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        tokens.push(body["access_token"].as_str().unwrap().to_owned());
    }
    let status = broker.wait();
    load.enough.store(true, Ordering::Relaxed);
    assert_eq!(status.code(), Some(0), "{}", broker.log());
    drop(idle);
    tokens.extend(received(clients).await);
    broker.holds_every(&tokens);
    assert_eq!(broker.events(None).last().unwrap().kind, Kind::BrokerStopped);
    // In good order nothing is left beside the database.
    let wal = std::fs::metadata(broker.file("data/hallpass.db-wal"));
    assert!(wal.is_err() || wal.unwrap().len() == 0, "the write-ahead log was not moved into the database");
}
