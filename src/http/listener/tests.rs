use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::http::settings::Bounds;

const SHORT: Patience = Patience {
    header: Duration::from_millis(300),
    idle: Duration::from_millis(1500),
    stall: Duration::from_millis(700),
    grace: Duration::from_millis(500),
};

struct Bench {
    address: SocketAddr,
    /// One for each endless answer that was let go of.
    let_go: mpsc::UnboundedReceiver<()>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

struct LetGo(mpsc::UnboundedSender<()>);

impl Drop for LetGo {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A body that never ends.
fn endless(told: mpsc::UnboundedSender<()>) -> Body {
    let pieces = futures_util::stream::unfold(LetGo(told), |guard| async move {
        Some((Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 * 1024])), guard))
    });
    Body::from_stream(pieces)
}

async fn bench() -> Bench {
    bench_in(Room::new(Bounds { connections: 1000, per_source: 1000, memory: 64 << 20 })).await
}

async fn bench_in(room: Arc<Room>) -> Bench {
    let (told, let_go) = mpsc::unbounded_channel();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        "late"
    };
    let counting = Arc::clone(&room);
    let swallow = |body: Body| async move {
        let _swallowed = http_body_util::BodyExt::collect(body).await;
        counting.memory().to_string()
    };
    let router = Router::new()
        .route("/swallow", post(swallow))
        .route("/", get(|| async { "ok" }))
        .route("/slow", get(slow))
        .route("/endless", get(move || std::future::ready(endless(told.clone()))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let manner = Manner { tls: None, room, idle: SHORT.idle, proxies: Arc::default() };
    let served = tokio::spawn(serve_with(SHORT, listener, manner, router, stopping));
    Bench { address, let_go, stop, served }
}

impl Bench {
    async fn connect(&self, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream
    }

    /// Whether an endless answer is let go of within `time`.
    async fn lets_go(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.let_go.recv()).await.is_ok()
    }
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

/// How long the other side keeps `stream` open, while this one reads.
async fn open_for(mut stream: TcpStream) -> Duration {
    let begun = Instant::now();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok(), "still open after {:?}", begun.elapsed());
    begun.elapsed()
}

#[tokio::test]
async fn a_connection_that_never_asks_is_ended() {
    let bench = bench().await;
    for first in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        // The whole preface, and settings: HTTP/2 that opens no stream.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: ",
    ] {
        let open = open_for(bench.connect(first).await).await;
        let due = SHORT.header + SHORT.grace + Duration::from_secs(1);
        assert!(open >= SHORT.header / 2 && open < due, "{open:?} after {first:?}");
    }
}

#[tokio::test]
async fn a_body_counts_as_held_up_to_its_limit() {
    let bench = bench().await;
    let length = 4 << 20;
    let head =
        format!("POST /swallow HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = bench.connect(head.as_bytes()).await;
    stream.write_all(&vec![b'a'; length]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let counted: usize = answer.rsplit_once("\r\n").unwrap().1.parse().unwrap();
    assert!(counted > 24 * 1024 && counted < 256 * 1024, "{counted} bytes: {answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_of() {
    let mut bench = bench().await;
    let stream = bench.connect(&request("/endless")).await;
    assert!(!bench.lets_go(SHORT.stall / 2).await, "it may be slow for a while");
    assert!(bench.lets_go(Duration::from_secs(5)).await);
    drop(stream);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_served() {
    let mut bench = bench().await;
    let mut stream = bench.connect(&request("/endless")).await;
    let mut piece = vec![0; 4 << 20];
    let begun = Instant::now();
    while begun.elapsed() < SHORT.stall * 3 {
        stream.read_exact(&mut piece).await.unwrap();
        tokio::time::sleep(SHORT.stall / 3).await;
    }
    assert!(bench.let_go.try_recv().is_err());
    drop(stream);
    assert!(bench.lets_go(Duration::from_secs(5)).await);
}

/// A client whose streams have this window.
fn http2(window: u32) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "the test's own client")]
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    client.http2_initial_stream_window_size(window).build().unwrap()
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_is_let_go_of_though_pings_are_answered() {
    let mut bench = bench().await;
    let client = http2(16 * 1024);
    let answer = client.get(format!("http://{}/endless", bench.address)).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(!bench.lets_go(SHORT.stall / 2).await, "it may be slow for a while");
    assert!(bench.lets_go(Duration::from_secs(5)).await);
    // The client is told by then, so that its next request takes a new connection.
    let next = client.get(format!("http://{}/", bench.address)).send().await.unwrap();
    assert_eq!(next.text().await.unwrap(), "ok");
    drop(answer);
}

#[tokio::test]
async fn a_connection_in_use_stays_open_as_long_as_it_is() {
    let bench = bench().await;
    let mut stream = bench.connect(b"").await;
    let begun = Instant::now();
    while begun.elapsed() < SHORT.stall * 3 {
        stream.write_all(&request("/")).await.unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "after {:?}", begun.elapsed());
        tokio::time::sleep(SHORT.header / 3).await;
    }
    assert!(open_for(stream).await < SHORT.idle + Duration::from_secs(1));
}

#[tokio::test]
async fn an_idle_connection_waits_longer_than_one_that_has_begun_a_head() {
    let bench = bench().await;
    let after_an_answer = async |then: &[u8]| {
        let mut stream = bench.connect(&request("/")).await;
        let mut answer = [0; 1024];
        let _ = stream.read(&mut answer).await.unwrap();
        stream.write_all(then).await.unwrap();
        open_for(stream).await
    };
    let (idle, begun) = tokio::join!(after_an_answer(b""), after_an_answer(b"GET / HT"));
    assert!(idle >= SHORT.idle - SHORT.header && idle < SHORT.idle + Duration::from_secs(1), "{idle:?}");
    assert!(begun >= SHORT.header / 2 && begun < SHORT.idle - SHORT.header, "{begun:?}");
}

#[tokio::test]
async fn the_end_waits_for_what_is_in_flight_and_for_nothing_else() {
    let bench = bench().await;
    let idle = bench.connect(&request("/")).await;
    let silent = bench.connect(b"").await;
    let mut busy = bench.connect(&request("/slow")).await;
    let stalled = bench.connect(&request("/endless")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    bench.stop.send_replace(true);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), bench.served).await.unwrap().unwrap();
    assert!(begun.elapsed() < SHORT.grace + Duration::from_secs(1), "{:?}", begun.elapsed());
    drop((idle, silent, stalled));
}

fn room_of_operators(connections: usize) -> Arc<Room> {
    Room::for_operators(Bounds { connections, per_source: connections, memory: 64 << 20 })
}

#[tokio::test]
async fn when_half_of_the_operators_room_is_taken_each_connection_ends_with_its_answer() {
    let room = room_of_operators(4);
    let bench = bench_in(Arc::clone(&room)).await;
    let answer = async |stream: &mut TcpStream| {
        stream.write_all(&request("/")).await.unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let mut streams = [bench.connect(b"").await, bench.connect(b"").await];
    for stream in &mut streams {
        assert!(!answer(stream).await.contains("connection: close"), "two of four");
    }
    let mut third = bench.connect(b"").await;
    assert!(answer(&mut third).await.contains("connection: close"), "three of four");
    assert!(open_for(third).await < Duration::from_millis(200));
    // Of HTTP/2 alike: it is told by GOAWAY, and ends with its answers.
    let client = http2(64 * 1024);
    let url = format!("http://{}/", bench.address);
    for _ in 0..3 {
        let next = client.get(&url).send().await.unwrap();
        assert_eq!((next.status().as_u16(), next.text().await.unwrap().as_str()), (200, "ok"));
        let begun = Instant::now();
        while room.connections() > 2 {
            assert!(begun.elapsed() < SHORT.idle / 2, "the connection stays");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(streams);
}

#[tokio::test]
async fn whoever_takes_long_answers_gives_an_operators_seat_up_to_others() {
    let bench = bench_in(room_of_operators(2)).await;
    let taking = async || {
        let mut stream = bench.connect(&request("/endless")).await;
        let mut piece = vec![0; 64 * 1024];
        while stream.read(&mut piece).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asking = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut stream = bench.connect(&request("/")).await;
        let mut answer = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer)).await;
        assert!(answer[..read.expect("an answer").unwrap()].starts_with(b"HTTP/1.1 200"));
    };
    tokio::select! {
        biased;
        () = asking => {}
        _ = futures_util::future::join(futures_util::future::join(taking(), taking()), std::future::pending::<()>()) => {}
    }
}
