//! TLS on the listeners, by real handshakes.

mod clients;
mod renewal;
mod unfit;

use std::time::{Duration, Instant};

use rustls::{ALL_VERSIONS, HandshakeKind};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::broker::{Backend, TestApp};
use crate::support::tls::{Authority, Files, connect};

/// A broker whose public listener has TLS, and where it listens.
async fn broker(files: &Files, more: &str) -> (TestApp, String) {
    let app = TestApp::with(Backend::Memory, &format!("{}{more}", files.section("server"))).await;
    let address = app.public.trim_start_matches("http://").to_owned();
    (app, address)
}

/// One request by hand on a connection that stays open; the answer's first line and body.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), path: &str) -> (String, String) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return (head.lines().next().unwrap().to_owned(), body.to_owned());
        }
    }
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_give_tokens() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (app, address) = broker(&files, "").await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (alpn, http) in [("h2", reqwest::Version::HTTP_2), ("http/1.1", reqwest::Version::HTTP_11)] {
            let config = authority.client(&[version], &[alpn], None);
            #[expect(clippy::disallowed_methods, reason = "the tests' own client")]
            let client =
                reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap();
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
                ("subject_token", &app.proof()),
            ];
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            let request = client.post(format!("https://{address}/oauth/token")).body(body);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, http), "{version:?} {alpn}");
            let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            app.note_released(answer["access_token"].as_str().unwrap());
        }
    }
    // Who offers neither protocol is told in the handshake (RFC 7301 §3.2).
    let refused = connect(&address, authority.client(ALL_VERSIONS, &["spdy/3"], None)).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    // And who does not trust the authority goes no further.
    let stranger = Authority::new().client(ALL_VERSIONS, &[], None);
    assert!(connect(&address, stranger).await.is_err());
    app.finish().await;
}

#[tokio::test]
async fn operators_call_over_tls_too() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let mut app = TestApp::with(Backend::Memory, &files.section("admin")).await;
    let admin = app.admin.replace("http://", "https://");
    let url = format!("{admin}/v1/revocations");
    let stop = json!({"target": "agent:payments-refactorer", "reason": "a test"}).to_string();
    let request = authority.http(None).post(url).bearer_auth(&app.operator).body(stop);
    assert_eq!(request.send().await.unwrap().status(), 201);
    assert_eq!(app.exchange(&app.proof(), &[]).await.reason(), "revoked");
    // Operators are known by their keys: no certificate is asked for, so none is sent.
    let pair = authority.pair("an operator");
    let config = authority.client(ALL_VERSIONS, &[], Some(&pair));
    let mut stream = connect(admin.trim_start_matches("https://"), config).await.unwrap();
    assert_eq!(ask(&mut stream, "/v1/agents").await.0, "HTTP/1.1 401 Unauthorized");
    app.shutdown().await;
}

#[tokio::test]
async fn plain_http_is_turned_away_at_once() {
    let files = Files::of(&Authority::new().pair("127.0.0.1"));
    let (app, address) = broker(&files, "").await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let (line, body) = ask(&mut stream, "/healthz").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(line, "HTTP/1.1 400 Bad Request");
    assert!(body.contains("tls_required"), "{body}");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "closed");
    app.finish().await;
}

#[tokio::test]
async fn half_open_handshakes_keep_nobody_out() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (app, address) = broker(&files, "").await;
    let mut held = Vec::new();
    for at in 0..200 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // Nothing at all, or a record that says 512 bytes follow.
        stream.write_all(if at % 2 == 0 { b"" } else { b"\x16\x03\x01\x02\x00\x01" }).await.unwrap();
        held.push(stream);
    }
    let begun = Instant::now();
    let good = authority.http(None).get(format!("https://{address}/healthz")).send();
    let answer = tokio::time::timeout(Duration::from_secs(5), good).await.expect("an answer").unwrap();
    assert_eq!(answer.status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // They were still held open all the while, and are let go of in the end.
    let mut byte = [0];
    assert!(held[0].try_read(&mut byte).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    let ended = tokio::time::timeout(Duration::from_secs(15), held[0].read(&mut byte)).await;
    assert!(matches!(ended.expect("an end"), Ok(0) | Err(_)));
    app.finish().await;
}

#[tokio::test]
async fn a_broker_that_stops_waits_for_no_handshake() {
    let files = Files::of(&Authority::new().pair("127.0.0.1"));
    let (mut app, address) = broker(&files, "").await;
    let held = TcpStream::connect(&address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    app.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(held);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (app, address) = broker(&files, "").await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        // Clones share the store of sessions.
        let config = authority.client(&[version], &[], None);
        for _ in 0..2 {
            let mut stream = connect(&address, config.clone()).await.unwrap();
            assert_eq!(ask(&mut stream, "/healthz").await.0, "HTTP/1.1 200 OK");
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
    app.finish().await;
}
