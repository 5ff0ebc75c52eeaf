//! Callers that are slow, large, many or gone: each is bounded, and none keeps another from its token.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hallpass::domain::event::Kind;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::{Plan, Process, eventually, exchange, read};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

async fn connect(broker: &Process) -> TcpStream {
    TcpStream::connect(broker.public.trim_start_matches("http://")).await.unwrap()
}

/// Sends it, and reads until the broker closes: what it answered, and how long it all took.
async fn told(broker: &Process, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = connect(broker).await;
    // The broker may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(reading.is_ok(), "not closed after {:?}", begun.elapsed());
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

/// A byte twice a second after `head`, which keeps a connection alive that counts only its silence.
async fn dribbled(broker: &Process, head: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let (mut reader, mut writer) = connect(broker).await.into_split();
    writer.write_all(head).await.unwrap();
    let writing = async {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = writing => {}
        _ = reader.read_to_end(&mut answer) => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("not closed after 30 s"),
    }
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

/// All at once, for each takes as long as the broker's patience: 10 s for a body, 15 s for a head.
#[tokio::test]
async fn who_is_slow_is_cut_off() {
    let more = "[limits]\nidle_connections = \"16s\"\n".to_owned();
    let broker = Process::with(Plan { more, ..Plan::default() });
    let head = format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\n{FORM}content-length: 1000\r\n\r\n");
    let (silent, undecided, head_only, slow_head, slow_body, stalled_body, kept_alive, h2) = tokio::join!(
        told(&broker, b""),
        // Could still become HTTP/2.
        told(&broker, b"PRI * HT"),
        told(&broker, b"GET /healthz HTTP/1.1\r\nhost: x\r\n"),
        dribbled(&broker, b"GET /healthz HTTP/1.1\r\nx: "),
        dribbled(&broker, head.as_bytes()),
        told(&broker, head.as_bytes()),
        told(&broker, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"),
        told(&broker, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    );
    let patience = Duration::from_secs(8)..Duration::from_secs(20);
    for (which, (answer, took)) in [
        ("silent", &silent),
        ("undecided", &undecided),
        ("head only", &head_only),
        ("slow head", &slow_head),
        ("slow body", &slow_body),
        ("stalled body", &stalled_body),
        ("kept alive", &kept_alive),
        ("h2", &h2),
    ] {
        assert!(patience.contains(took), "{which}: {took:?} {answer}");
    }
    for (answer, _) in [slow_body, stalled_body] {
        assert!(answer.contains("400 Bad Request") && answer.contains("body_invalid"), "{answer}");
    }
    assert!(kept_alive.0.starts_with("HTTP/1.1 200 OK"));
    broker.exchange().await.token();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_at_once() {
    let broker = Process::start();
    let long = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(40 * 1024));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70 * 1024));
    let headers = |count: usize| {
        let many: String = (1..count).map(|n| format!("x-{n}: a\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}connection: close\r\n\r\n")
    };
    for (request, status) in [
        (long, "431"),
        (path, "4"),
        // With `connection` 64 and 65.
        (headers(63), "200"),
        (headers(64), "431"),
    ] {
        let (answer, took) = told(&broker, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        assert!(took < Duration::from_secs(5), "{status}: {took:?}");
    }
    broker.exchange().await.token();
}

#[tokio::test]
async fn garbage_behind_a_request_harms_that_connection_alone() {
    let broker = Process::start();
    let good = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for garbage in [
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /oauth/token HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /oauth/token HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST /oauth/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let (answer, took) = told(&broker, format!("{good}{garbage}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{garbage:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{garbage:?}: {answer}");
        assert!(answer.contains("HTTP/1.1 400 "), "{garbage:?}: {answer}");
        assert!(took < Duration::from_secs(5), "{garbage:?}: {took:?}");
    }
    // Two lengths of one body, by which two readers would find different requests in it.
    let smuggled = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: x\r\n{FORM}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    );
    let (answer, _) = told(&broker, smuggled.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    broker.exchange().await.token();
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let broker = Process::start();
    let mut request =
        format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\n{FORM}transfer-encoding: chunked\r\n\r\n");
    for _ in 0..17 {
        request.push_str(&format!("1000\r\n{}\r\n", "a".repeat(4096)));
    }
    // Without its end: what is over the limit is not waited for.
    let (answer, took) = told(&broker, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"too_large\""), "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let body = json!({"target": "everything", "reason": "a".repeat(70 * 1024)}).to_string();
    let admin = broker.http.post(format!("{}/v1/revocations", broker.admin)).bearer_auth(&broker.operator);
    let answer = read(admin.body(body)).await;
    assert_eq!((answer.status, answer.reason().as_str()), (413, "too_large"));
    broker.exchange().await.token();
}

#[tokio::test]
async fn http2_without_a_negotiation_works() {
    let broker = Process::start();
    let http = http2();
    let post = || {
        let request = http.post(format!("{}/oauth/token", broker.public));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(exchange(&broker.proof()))
    };
    let answers = join_all((0..50).map(|_| post().send())).await;
    let mut tokens = Vec::new();
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert!(answer.headers().contains_key("x-request-id"));
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        tokens.push(body["access_token"].as_str().unwrap().to_owned());
    }
    let huge = post().header("x-huge", "a".repeat(40 * 1024)).send().await;
    assert!(huge.is_err() || huge.unwrap().status() == 431);
    assert_eq!(read(post().body("a".repeat(70 * 1024))).await.status, 413);
    broker.holds_every(&tokens);
}

#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
fn http2() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}

/// As many files as this process may have open, raised to what its hard limit allows.
fn open_files() -> usize {
    let pid = std::process::id().to_string();
    let limit = |column: &str| {
        let output = Command::new("prlimit").args(["--pid", &pid, "--nofile", "-rn", "-o", column]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.trim().parse::<usize>().unwrap_or(1 << 20)
    };
    let (soft, hard) = (limit("SOFT"), limit("HARD"));
    let wanted = hard.min(20_000).max(soft);
    let raise = format!("--nofile={wanted}:{hard}");
    if wanted > soft && Command::new("prlimit").args(["--pid", &pid, &raise]).status().unwrap().success() {
        return wanted;
    }
    soft
}

#[tokio::test]
async fn thousands_of_idle_connections_stop_no_token() {
    let files = open_files();
    // The child has them too, and other tests run beside this one.
    let broker = Process::with(Plan { before: format!("ulimit -n {files}"), ..Plan::default() });
    let count = 3000.min(files.saturating_sub(500));
    assert!(count > 400, "no more than {files} files may be open: too few to tell");
    let mut idle = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = connect(&broker).await;
        // A third says nothing, a third begins a head, a third was answered and stays.
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"POST /oauth/token HTTP/1.1\r\n").await.unwrap(),
            _ => stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap(),
        }
        idle.push(stream);
    }
    let begun = Instant::now();
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(broker.exchange().await.token());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(broker.get("/readyz").await.status == 200 && broker.admin_get("/v1/agents").await.status == 200);
    broker.holds_every(&tokens);
    drop(idle);
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let broker = Process::start();
    let mut ids = std::collections::BTreeSet::new();
    let mut count = 0;
    let (public, admin) = (broker.public.clone(), broker.admin.clone());
    for (base, paths) in [
        (
            &public,
            &["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/healthz", "/readyz", "/none", "/"][..],
        ),
        (
            &admin,
            &["/v1/agents", "/v1/agents/x", "/v1/revocations", "/metrics", "/openapi.json", "/none", "/"],
        ),
    ] {
        for path in paths {
            let url = format!("{base}{path}");
            for request in [broker.http.get(&url), broker.http.post(&url), broker.http.delete(&url)] {
                // A caller does not choose it.
                for request in [request.try_clone().unwrap(), request.header("x-request-id", "mine")] {
                    let answer = read(request).await;
                    let id = answer.header("x-request-id").to_owned();
                    assert_eq!(id.len(), 36, "{url}: {answer:?}");
                    if let Ok(body) = serde_json::from_str::<serde_json::Value>(&answer.text)
                        && body.get("request_id").is_some()
                    {
                        assert_eq!(body["request_id"], id, "{url}");
                    }
                    ids.insert(id);
                    count += 1;
                }
            }
        }
    }
    assert_eq!(ids.len(), count);
    let log = broker.log();
    assert!(ids.iter().all(|id| log.contains(id)), "a call without its line in the log");
}

/// An admin whose connection breaks in the middle of `revoke` has stopped the agent all the same.
#[tokio::test]
async fn who_hangs_up_while_revoking_has_revoked() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port);
    let broker = Process::with(Plan { revocation: url, ..Plan::default() });
    let ready = format!("{}/readyz", broker.public);
    eventually("readiness", || async {
        broker.http.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let token = broker.exchange().await.token();
    // Slow enough that the broker is in the middle of it when the caller goes.
    proxy.delay(Duration::from_millis(50));
    let body = json!({"target": "agent:payments-refactorer", "reason": "hung up"}).to_string();
    let request = format!(
        "POST /v1/revocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        broker.operator,
        body.len()
    );
    let mut stream = TcpStream::connect(broker.admin.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(stream);
    let stopped = || async {
        let stored: Option<String> =
            redis.command(&["HGET", "hallpass:{revocation}:stops", "agent:payments-refactorer"]);
        stored.is_some()
    };
    eventually("the stop in Redis", stopped).await;
    assert_eq!(broker.exchange().await.reason(), "revoked");
    let stops = broker.events(Some(Kind::RevocationStopped));
    assert_eq!(stops.len(), 1);
    assert_eq!(stops[0].reason.as_deref(), Some("hung up"));
    broker.holds_every(&[token]);
}

/// However many addresses strangers have, they write so many events a minute, and the rest is one number.
#[tokio::test]
async fn strangers_have_so_many_events_whatever_their_addresses() {
    const ADDRESSES: u32 = 600;
    let more = "[limits]\nrefusals_per_minute = 60\nrefusal_events_per_minute = 30".to_owned();
    let mut broker = Process::with(Plan { more, ..Plan::default() });
    let address = broker.public.trim_start_matches("http://").parse().unwrap();
    let begun = Instant::now();
    let refused = |n: u32| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let source = std::net::Ipv4Addr::from_bits(0x7f01_0000 + n);
        socket.bind((source, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let body = exchange("no.good.proof");
        let head = format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{FORM}");
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("proof_malformed"), "{answer}");
    };
    for some in 0..ADDRESSES / 50 {
        join_all((some * 50..(some + 1) * 50).map(refused)).await;
    }
    // An agent that is known is no stranger: each of its refusals has its event.
    let narrowed = |n: usize| {
        broker.request(&broker.proof()).body(format!("{}&scope=nothing:x{n}", exchange(&broker.proof())))
    };
    for n in 0..20 {
        assert_eq!(read(narrowed(n)).await.reason(), "scope_not_registered");
    }
    let per_minute = 30 + begun.elapsed().as_secs() / 2 + 1;
    broker.terminate();
    assert!(broker.wait().success());
    let events = broker.events(Some(Kind::TokenRefused));
    let (known, strangers): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.agent.is_some());
    assert_eq!(known.len(), 20);
    assert!((30..=per_minute).contains(&(strangers.len() as u64)), "{} events", strangers.len());
    let counted: Vec<_> =
        broker.events(Some(Kind::RefusalsCounted)).into_iter().filter_map(|event| event.detail).collect();
    let untold = ADDRESSES as usize - strangers.len();
    let said =
        format!("{untold} more refusals of strangers, from {untold} addresses, have no event of their own");
    assert_eq!(counted, [said]);
    broker.holds_every(&[]);
}
