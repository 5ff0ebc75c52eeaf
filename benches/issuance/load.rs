//! Load over keep-alive HTTP/1.1 connections, as light on the machine as it can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::CONNECTIONS;
use crate::proofs::Proofs;

/// One round.
pub(crate) struct Measured {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) calls: usize,
}

impl Measured {
    /// What several servers did side by side: all their calls, at the times of the slowest.
    pub(crate) fn together(all: Vec<Self>) -> Self {
        let slowest = |of: fn(&Self) -> f64| all.iter().map(of).fold(0.0, f64::max);
        Self {
            rate: all.iter().map(|one| one.rate).sum(),
            p50: slowest(|one| one.p50),
            p99: slowest(|one| one.p99),
            calls: all.iter().map(|one| one.calls).sum(),
        }
    }
}

pub(crate) struct Load;

impl Load {
    pub(crate) async fn get(address: SocketAddr, path: &str, count: usize) -> Measured {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes();
        run(address, vec![request; count], CONNECTIONS).await
    }

    pub(crate) async fn exchange(address: SocketAddr, proofs: Proofs) -> Measured {
        Self::exchange_over(address, proofs, CONNECTIONS).await
    }

    pub(crate) async fn exchange_over(address: SocketAddr, proofs: Proofs, connections: usize) -> Measured {
        let requests = proofs.into_bodies().into_iter().map(|body| post("/oauth/token", "", &body)).collect();
        run(address, requests, connections).await
    }

    pub(crate) async fn introspect(
        address: SocketAddr,
        token: &str,
        operator: &str,
        count: usize,
    ) -> Measured {
        let bearer = format!("authorization: Bearer {operator}\r\n");
        let request = post("/oauth/introspect", &bearer, &format!("token={token}"));
        run(address, vec![request; count], CONNECTIONS).await
    }

    /// `rate` calls a second, each at its time whatever the others do.
    pub(crate) async fn paced(address: SocketAddr, proofs: Proofs, rate: u32) -> Measured {
        let begun = tokio::time::Instant::now();
        let mut calls = Vec::new();
        for (number, body) in proofs.into_bodies().into_iter().enumerate() {
            let request = post("/oauth/token", "", &body);
            let lane = number % 16;
            calls.push((lane, begun + Duration::from_secs(1) * number as u32 / rate, request));
        }
        let mut lanes: Vec<Vec<_>> = (0..16).map(|_| Vec::new()).collect();
        for (lane, at, request) in calls {
            lanes[lane].push((at, request));
        }
        let tasks: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                tokio::spawn(async move {
                    let mut connection = Connection::open(address).await;
                    let mut times = Vec::with_capacity(lane.len());
                    for (at, request) in lane {
                        tokio::time::sleep_until(at).await;
                        let begun = Instant::now();
                        connection.call(&request).await;
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        measured(tasks, Instant::now()).await
    }
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\n{headers}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn run(address: SocketAddr, requests: Vec<Vec<u8>>, connections: usize) -> Measured {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await);
    }
    let begun = Instant::now();
    let tasks: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    connection.call(request).await;
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    measured(tasks, begun).await
}

async fn measured(tasks: Vec<tokio::task::JoinHandle<Vec<Duration>>>, begun: Instant) -> Measured {
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a connection"));
    }
    let took = begun.elapsed();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    Measured {
        rate: times.len() as f64 / took.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        calls: times.len(),
    }
}

/// A token of the first of `proofs`.
pub(crate) async fn first_token(address: SocketAddr, proofs: &Proofs) -> String {
    let body = proofs.clone().into_bodies().remove(0);
    let mut connection = Connection::open(address).await;
    let answer = connection.call(&post("/oauth/token", "", &body)).await;
    let answer: serde_json::Value = serde_json::from_slice(answer).expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self { stream, buffer: Vec::with_capacity(8192) }
    }

    /// Sends one request and reads its answer whole; anything but 200 ends the bench.
    async fn call(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.expect("sent");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("read");
            assert!(read > 0, "the server closed the connection");
            if let Some((head, length)) = head(&self.buffer)
                && self.buffer.len() >= head + length
            {
                let is_good = self.buffer.starts_with(b"HTTP/1.1 200");
                assert!(is_good, "{}", String::from_utf8_lossy(&self.buffer));
                return &self.buffer[head..head + length];
            }
        }
    }
}

/// Where the head ends, and how long the body is.
fn head(buffer: &[u8]) -> Option<(usize, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).expect("an ASCII head");
    let length = head
        .lines()
        .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
        .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
    Some((end, length))
}
