//! What the listeners say to clients that speak another protocol, or speak for somebody else.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::broker::{Backend, TestApp};
use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::issuer::Mood;
use crate::support::process::{Plan, Process, eventually, exchange};
use crate::support::tls::{Authority, Files};

/// A broker with more keys in `[server]`.
fn broker(keys: &str, plan: Plan) -> Process {
    let mut broker = Process::prepare(plan);
    let file = broker.file("hallpass.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("[server]\n", &format!("[server]\n{keys}\n"), 1)).unwrap();
    broker.boot();
    broker
}

/// Sends `bytes` and reads until the other side closes.
async fn told(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "not closed after {:?}", String::from_utf8_lossy(bytes));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status, headers and JSON of an answer by hand.
fn parts(answer: &str) -> (u16, String, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_the_listeners_own_form() {
    let broker = Process::start();
    let large = format!("GET /readyz HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", "a".repeat(40 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70 << 10));
    let many = format!("GET /readyz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    let after_one = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nno request\r\n\r\n";
    for (bytes, status, reason) in [
        (large.as_str(), 431, "head_too_large"),
        (&long, 431, "head_too_large"),
        (&many, 431, "head_too_large"),
        ("no request\r\n\r\n", 400, "request_malformed"),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: no number\r\n\r\n", 400, "request_malformed"),
    ] {
        for (listener, kind) in
            [(&broker.public, "application/json"), (&broker.admin, "application/problem+json")]
        {
            let (told, head, body) = parts(&told(listener, bytes.as_bytes()).await);
            assert_eq!((told, body["reason"].as_str()), (status, Some(reason)), "{head}");
            assert!(head.contains(&format!("content-type: {kind}")), "{head}");
            let id = body["request_id"].as_str().unwrap();
            assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
            assert!(head.contains("connection: close") && head.contains("date: "), "{head}");
        }
    }
    let both = told(&broker.public, after_one.as_bytes()).await;
    assert!(both.starts_with("HTTP/1.1 200 OK") && both.contains("request_malformed"), "{both}");
    // Each of them is a line of the log, found by the id that the caller was told.
    eventually("lines", || async { broker.log().matches("\"status\":431").count() >= 6 }).await;
}

#[tokio::test]
async fn http_on_a_port_with_tls_is_told_so_and_logged_once() {
    let files = Files::of(&Authority::new().pair("127.0.0.1"));
    let more = files.section("server") + &files.section("admin");
    let broker = Process::with(Plan { more, ..Plan::default() });
    let form = exchange(&broker.proof());
    let post =
        format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{form}", form.len());
    for _ in 0..3 {
        for listener in [&broker.public, &broker.admin] {
            for request in ["GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", &post] {
                let begun = Instant::now();
                let (status, head, body) = parts(&told(listener, request.as_bytes()).await);
                assert_eq!((status, body["reason"].as_str()), (400, Some("tls_required")), "{head}");
                assert!(body.to_string().contains("https://"), "{body}");
                assert!(head.contains("connection: close"), "{head}");
                assert!(begun.elapsed() < Duration::from_secs(5));
            }
        }
    }
    let lines = || broker.log().matches("spoke plain http").count();
    eventually("a line", || async { lines() == 2 }).await;
}

#[tokio::test]
async fn tls_on_a_plain_port_is_closed_and_logged_once() {
    let broker = Process::start();
    for _ in 0..3 {
        for listener in [&broker.public, &broker.admin] {
            // A client's hello, as far as its first bytes.
            let begun = Instant::now();
            assert_eq!(told(listener, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await, "");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    }
    eventually("a line", || async { broker.log().matches("began TLS on a listener without").count() == 2 })
        .await;
    broker.exchange().await.token();
}

/// Whom the broker took for the caller of a refused request that began with `first`.
async fn caller(broker: &Process, first: &str, headers: &str) -> String {
    let request = format!(
        "{first}POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 0\r\n\r\n"
    );
    let (_, _, body) = parts(&told(&broker.public, request.as_bytes()).await);
    let id = body["request_id"].as_str().unwrap().to_owned();
    let find = || {
        let log = broker.log();
        let line = log.lines().find(|line| line.contains(&id) && line.contains("\"message\":\"call\""))?;
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line["fields"]["peer"].as_str().unwrap().to_owned())
    };
    eventually("the call", || async { find().is_some() }).await;
    let event = broker
        .events(None)
        .into_iter()
        .rev()
        .find(|event| event.request.is_some_and(|request| request.to_string() == id));
    let found = find().unwrap();
    if let Some(peer) = event.and_then(|event| event.peer) {
        assert_eq!(peer.to_string(), found, "the event says the same");
    }
    found
}

#[tokio::test]
async fn a_trusted_proxy_says_who_calls_and_nobody_else_does() {
    let xff = "x-forwarded-for: 203.0.113.7, 192.0.2.1\r\nforwarded: for=198.51.100.1\r\n";
    let trusting = broker("trusted_proxies = [\"127.0.0.0/8\"]", Plan::default());
    assert_eq!(caller(&trusting, "", xff).await, "192.0.2.1");
    assert_eq!(caller(&trusting, "", "").await, "127.0.0.1");
    let other = broker("trusted_proxies = [\"10.0.0.0/8\"]", Plan::default());
    assert_eq!(caller(&other, "", xff).await, "127.0.0.1");
    // The limit of refusals counts for the caller and not for the proxy.
    let limited = broker(
        "trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"forwarded\"",
        Plan { more: "[limits]\nrefusals_per_minute = 1\n".to_owned(), ..Plan::default() },
    );
    let refused = async |address: &str| {
        let request = limited.request("no proof").header("forwarded", format!("for={address}"));
        crate::support::process::read(request).await.reason()
    };
    assert_eq!(refused("192.0.2.1").await, "proof_malformed");
    assert_eq!(refused("192.0.2.1").await, "rate_limited");
    assert_eq!(refused("192.0.2.2").await, "proof_malformed");
}

#[tokio::test]
async fn the_proxy_protocol_comes_first_from_a_trusted_proxy() {
    let keys = "trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"proxy-protocol\"";
    let trusting = broker(keys, Plan::default());
    let v1 = "PROXY TCP4 192.0.2.1 127.0.0.1 4711 8700\r\n";
    assert_eq!(caller(&trusting, v1, "x-forwarded-for: 203.0.113.7\r\n").await, "192.0.2.1");
    assert_eq!(caller(&trusting, "PROXY UNKNOWN\r\n", "").await, "127.0.0.1");
    let v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\0\x01\0\x02";
    assert_eq!(caller(&trusting, v2, "").await, "10.1.2.3");
    // Without the header nothing is served: it could be anybody's.
    let (status, _, body) = parts(&told(&trusting.public, b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await);
    assert_eq!((status, body["reason"].as_str()), (400, Some("proxy_protocol_required")), "{body}");
    let said = command(&["ready", "--url", &trusting.public], &[]).await;
    assert!(said.code == Some(1) && said.err.contains("the PROXY protocol: ask by the proxy"), "{said:?}");
    eventually("a line", || async { trusting.log().contains("no header of the PROXY protocol") }).await;
    // The header is behind nobody else's connection.
    let plain = Process::start();
    let answer = told(&plain.public, format!("{v1}GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_address_of_another_host_is_told_so() {
    let plan = Plan::default();
    let broker = Process::prepare(plan);
    let file = broker.file("hallpass.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("127.0.0.1:0", "192.0.2.1:8700", 1)).unwrap();
    let (_, said) = crate::support::process::hallpass(&["serve", "--config"], &file);
    assert!(said.contains("192.0.2.1:8700") && said.contains("not an address of this host"), "{said}");
    assert!(!said.contains("another broker"), "{said}");
}

/// A command with these variables and no other.
async fn command(args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = bare(HALLPASS);
    command.args(args).envs(variables.iter().copied());
    ran(command).await
}

#[tokio::test]
async fn the_command_says_which_of_http_and_https_to_write() {
    let plain = Process::start();
    let files = Files::of(&Authority::new().pair("127.0.0.1"));
    let secure = Process::with(Plan { more: files.section("server"), ..Plan::default() });
    let https = plain.public.replace("http://", "https://");
    let said = command(&["ready", "--url", &https], &[]).await;
    assert!(said.code == Some(1) && said.err.contains("does not speak TLS"), "{said:?}");
    assert!(said.err.contains("write http:// instead of https://"), "{said:?}");
    let said =
        command(&["token", "--url", &secure.public], &[("HALLPASS_IDENTITY_TOKEN", &secure.proof())]).await;
    assert!(said.code != Some(0) && said.err.contains("write https:// instead of http://"), "{said:?}");
    // Another server than hallpass closes, or sends an alert.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}", listener.local_addr().unwrap());
    let alerting = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"\x15\x03\x01\0\x02\x02\x46").await;
    });
    let said = command(&["ready", "--url", &other], &[]).await;
    assert!(said.err.contains("write https:// instead of http://"), "{said:?}");
    alerting.await.unwrap();
}

#[tokio::test]
async fn without_root_certificates_plain_http_works_and_https_names_what_is_missing() {
    let broker = Process::start();
    for file in ["/nonexistent/roots.pem", "/dev/null"] {
        let variables = [("SSL_CERT_FILE", file)];
        let said = command(&["ready", "--url", &broker.public], &variables).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let said = command(&["ready", "--url", "https://127.0.0.1:1"], &variables).await;
        assert!(
            said.code == Some(1) && said.err.contains(&format!("SSL_CERT_FILE names {file}")),
            "{said:?}"
        );
    }
    // A broker that has to ask https is not started.
    let more = "[[issuer]]\nname = \"far\"\nurl = \"https://issuer.example\"\naudience = \"a\"\n".to_owned();
    let broker = Process::prepare(Plan { more, ..Plan::default() });
    let config = broker.file("hallpass.toml");
    let said =
        command(&["serve", "--config", config.to_str().unwrap()], &[("SSL_CERT_FILE", "/nonexistent")]).await;
    assert!(said.code == Some(1) && said.err.contains("SSL_CERT_FILE names /nonexistent"), "{said:?}");
}

#[tokio::test]
async fn ready_knows_the_broker_of_a_configuration_by_its_certificate() {
    let files = Files::of(&Authority::new().pair("hallpass.example"));
    for (more, secure) in [(files.section("server"), true), (String::new(), false)] {
        let mut broker = Process::prepare(Plan { more, ..Plan::default() });
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (public, admin) = (free(), free());
        broker.listen(public, admin);
        let config = broker.file("hallpass.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replacen(&format!("127.0.0.1:{public}"), &format!("0.0.0.0:{public}"), 1))
            .unwrap();
        let args = ["ready", "--config", config.to_str().unwrap()];
        let said = command(&args, &[]).await;
        assert!(said.code == Some(1) && said.err.contains("cannot reach the broker"), "{said:?}");
        broker.boot();
        let said = command(&args, &[]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        // With -v it says what an operator may know, by the key that the configuration names.
        let verbose = [&args[..], &["-v"]].concat();
        let said = command(&verbose, &[]).await;
        assert_eq!((said.code, said.out.trim()), (Some(0), r#"{"status":"ok","degraded":[]}"#), "{said:?}");
        let said = command(&[&verbose[..], &["--key-file", "/nonexistent"]].concat(), &[]).await;
        assert!(said.code == Some(1) && said.err.contains("/nonexistent"), "{said:?}");
        if secure {
            // Somebody else's certificate, where the broker still serves with its own.
            let own = fs::read(files.cert()).unwrap();
            fs::write(files.cert(), Authority::new().pair("hallpass.example").certificate.pem()).unwrap();
            assert_eq!(command(&args, &[]).await.code, Some(1));
            fs::write(files.cert(), own).unwrap();
        }
    }
}

#[tokio::test]
async fn readiness_knows_of_a_dead_issuer_before_a_proof_comes() {
    let app = TestApp::start(Backend::Memory).await;
    app.issuer.behave(Mood::Broken);
    app.hands.push(15 * 60);
    let says = async |status: &str| {
        let begun = Instant::now();
        while app.admin_get("/readyz").await.json()["status"] != status {
            assert!(begun.elapsed() < Duration::from_secs(10), "not {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    says("degraded").await;
    app.issuer.behave(Mood::Honest);
    app.hands.push(60);
    says("ok").await;
    app.finish().await;
}

#[tokio::test]
async fn a_caller_over_ipv4_is_known_by_its_ipv4_address_on_a_listener_for_both() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return;
    }
    let mut broker = Process::prepare(Plan::default());
    let file = broker.file("hallpass.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("127.0.0.1:0", "[::]:0", 1)).unwrap();
    broker.boot();
    let port = broker.public.rsplit(':').next().unwrap().to_owned();
    broker.public = format!("http://127.0.0.1:{port}");
    assert_eq!(caller(&broker, "", "").await, "127.0.0.1");
    assert!(!broker.log().contains("::ffff:"), "{}", broker.log());
}

#[tokio::test]
async fn a_lack_of_file_descriptors_is_logged_once() {
    let broker = Process::start();
    broker.exchange().await.token();
    let open = fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count();
    let limit = |most: usize| {
        // The soft limit alone.
        let limit = format!("--nofile={most}:");
        let pid = broker.pid().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    limit(open.saturating_sub(4));
    let address = broker.public.trim_start_matches("http://").to_owned();
    let mut waiting = TcpStream::connect(&address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    limit(1024);
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    eventually("a line", || async { broker.log().matches("cannot be accepted").count() == 1 }).await;
}
