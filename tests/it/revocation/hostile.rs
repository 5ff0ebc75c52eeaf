//! What others may put into Redis or between, who may do what there, and what of it is told.

use hallpass::domain::client_certificate::ClientFiles;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::support::proxy::Proxy;
use crate::support::redis::Options;

pub(super) fn with_credentials(port: u16, username: &str, password: &str) -> RevocationSettings {
    let url = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let password = Some(SecretString::from(password));
    with(RedisSettings { username: Some(username.into()), password, ..RedisSettings::new(url) })
}

#[tokio::test]
async fn what_cannot_be_read_is_never_taken_for_not_stopped() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    node.push().await.unwrap();
    let target = agent().to_string();
    let id = node::new_id();
    for text in [
        "",
        "1",
        "1 1",
        "x x -",
        "-5 -5 -",
        "1 1 x",
        "1 1 - 2",
        "1 2 -",
        "9999999999999999 1 -",
        "1e3 1 -",
        "1 1 \u{fffd}",
        "0x10 1 -",
        &format!("2 1 {id}"),
    ] {
        server.command::<i64>(&["HSET", STOPS, &target, text]);
        let asked = node.revocation.ask(&request()).await;
        assert!(matches!(asked, Err(RevocationError::Broken(_))), "{text:?}: {asked:?}");
        assert!(node.revocation.load().await.is_err(), "{text:?}");
        assert!(node.revocation.ask(&others()).await.is_ok(), "{text:?} is not theirs");
    }
    for text in ["", "x", "- ", &id.to_string().to_uppercase()] {
        server.command::<i64>(&["HDEL", STOPS, &target]);
        server.command::<i64>(&["HSET", STOPS, &format!("unnumbered:{target}"), text]);
        let asked = node.revocation.ask(&request()).await;
        assert!(matches!(asked, Err(RevocationError::Broken(_))), "{text:?}: {asked:?}");
    }
}

/// A push finds what it cannot merge with, and writes nothing at all.
#[tokio::test]
async fn nothing_is_written_over_what_cannot_be_read() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    node.push().await.unwrap();
    let target = agent().to_string();
    for text in ["", "1", "x - -", "9999999999999999 1 -", "1e3 1 -", "0x10 1 -"] {
        store.stop(&owner());
        store.stop(&agent());
        server.command::<i64>(&["HSET", STOPS, &target, text]);
        let before: std::collections::BTreeMap<String, String> = server.command(&["HGETALL", STOPS]);
        let log: usize = server.command(&["XLEN", LOG]);
        let pushed = node.push().await;
        assert!(matches!(pushed, Err(RevocationError::Broken(_))), "{text:?}: {pushed:?}");
        let after: std::collections::BTreeMap<String, String> = server.command(&["HGETALL", STOPS]);
        assert_eq!((before, log), (after, server.command(&["XLEN", LOG])), "{text:?}");
        assert!(in_known(&node, &agent()), "this node holds the stop all the same");
    }
    server.command::<i64>(&["HDEL", STOPS, &target]);
    node.push().await.unwrap();
    assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(owner()));
    let back: Option<String> = server.command(&["HGET", STOPS, &target]);
    assert!(back.is_some());
}

fn in_known(node: &Node, target: &Target) -> bool {
    node.revocation.known().get(target).is_some_and(|standing| standing.stop.is_some())
}

#[tokio::test]
async fn a_state_that_is_none_is_an_error() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    node.push().await.unwrap();
    let state: String = server.command(&["HGET", STOPS, "state"]);
    let parts: Vec<&str> = state.split(' ').collect();
    for n in 2..6 {
        for wrong in ["x", "-1", "", "1e3", "9999999999999999"] {
            let mut parts = parts.clone();
            parts[n] = wrong;
            server.command::<i64>(&["HSET", STOPS, "state", &parts.join(" ")]);
            let asked = node.revocation.ask(&request()).await;
            assert!(asked.is_err(), "{n} {wrong:?}: {asked:?}");
            store.stop(&agent());
            let pushed = node.push().await;
            assert!(matches!(pushed, Err(RevocationError::Broken(_))), "{n} {wrong:?}: {pushed:?}");
        }
    }
}

#[tokio::test]
async fn keys_of_another_type_are_errors() {
    for key in [STOPS, LOG] {
        let (server, store) = (RedisServer::start(), Durable::default());
        let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
        node.push().await.unwrap();
        server.command::<i64>(&["DEL", key]);
        server.command::<i64>(&["SADD", key, "x"]);
        store.stop(&agent());
        let pushed = node.push().await;
        assert!(matches!(pushed, Err(RevocationError::Broken(_))), "{key}: {pushed:?}");
        let stored: redis::Value = server.command(&["TYPE", key]);
        assert_eq!(stored, redis::Value::SimpleString("set".into()), "{key} was left alone");
        if key == STOPS {
            assert!(node.revocation.ask(&request()).await.is_err(), "{key}");
        } else {
            assert_eq!(server.command::<usize>(&["HLEN", STOPS]), 1, "nothing was written before it failed");
        }
    }
    // The reports: whoever is alive cannot say so, and the authority is given up.
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    server.command::<i64>(&["DEL", SEEN]);
    server.command::<i64>(&["SADD", SEEN, "x"]);
    eventually("a word about it", || !node.revocation.usable()).await;
    server.command::<i64>(&["DEL", SEEN]);
    node.wait_until_ready().await;
    server.command::<i64>(&["HSET", SEEN, "broker-b", "nonsense"]);
    eventually("a word about it", || !node.revocation.usable()).await;
}

#[tokio::test]
async fn an_unreadable_stop_makes_the_view_stale() {
    let server = RedisServer::start();
    let settings = RevocationSettings { max_staleness: Duration::from_millis(400), ..redis_at(server.port) };
    for (field, text) in [("team:x", "1 1 -"), ("agent:x", "never"), ("unnumbered:x", "never")] {
        server.command::<()>(&["FLUSHALL"]);
        let node = Node::ready("broker-a", &settings, &Durable::default()).await;
        server.command::<i64>(&["HSET", STOPS, field, text]);
        server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("staleness", || node.revocation.view().is_err()).await;
        eventually("a word about it", || {
            !node.revocation.usable() && node.revocation.status().to_string().contains(field)
        })
        .await;
        server.command::<i64>(&["HDEL", STOPS, field]);
        eventually("a view", || node.revocation.view().is_ok()).await;
    }
}

#[tokio::test]
async fn the_documented_user_is_enough_and_no_more() {
    let acl = format!("user default off\n{}\n", super::permissions::documented());
    let server = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    let store = Durable::default();
    let settings = with_credentials(server.port, "hallpass", "correct-horse");
    let url = format!("redis://hallpass:correct-horse@127.0.0.1:{}", server.port);
    let mut user = redis::Client::open(url).unwrap().get_connection().unwrap();
    // What is spent, and a report that is long silent: both are removed.
    let spent = Target::Token(token(99)).to_string();
    store.end(token(99));
    store.raise_floor(store.revision());
    let a = Node::ready("broker-a", &settings, &store).await;
    redis::cmd("HSET").arg(STOPS).arg(&spent).arg("1 1 -").exec(&mut user).unwrap();
    let mut b = Node::ready("broker-b", &settings, &store).await;
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
    assert!(!b.may_issue(&request()).await.unwrap());
    assert!(in_view(&b, &agent()));
    let (_, waits) = b.stop_unnumbered(&owner()).await;
    let who = b.revocation.confirmations(&waits.unwrap(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.pending, []);
    b.number_waiting();
    b.push().await.unwrap();
    let once = hallpass::domain::digest::Digest::of(b"once");
    assert_eq!(a.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(true));
    assert_eq!(b.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(false));
    b.shut_down().await;
    assert_eq!(a.seen(&change, 0).await.1, Vec::<String>::new(), "it could say that it left");
    let started = Instant::now();
    while redis::cmd("HGET").arg(STOPS).arg(&spent).query::<Option<String>>(&mut user).unwrap().is_some() {
        assert!(started.elapsed() < Duration::from_secs(10), "what is spent was not removed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    for refused in [
        &["FLUSHALL"][..],
        &["DEL", STOPS],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
        &["GET", "other"],
        &["EVAL", "return 1", "0"],
    ] {
        let answer: redis::RedisResult<redis::Value> =
            redis::cmd(refused[0]).arg(&refused[1..]).query(&mut user);
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{refused:?}");
    }
}

/// Every error and every `Debug` that a broker could log.
async fn all_that_is_said(settings: &RevocationSettings) -> String {
    let revocation = connect("broker-a", settings).await;
    let node = Node::of(Arc::clone(&revocation), &Durable::default());
    let (asked, filled) = (revocation.ask(&request()).await, node.push().await);
    assert!(asked.is_err() && filled.is_err());
    format!("{asked:?} {filled:?} {} {revocation:?} {settings:?}", revocation.status())
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let acl = "user default off\nuser hallpass on >right ~* +@all\n".to_owned();
    let server = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    for username in ["hallpass", "nobody"] {
        let said = all_that_is_said(&with_credentials(server.port, username, "canary-5ecret")).await;
        assert!(said.contains("refused the user name or the password"), "{said}");
        assert!(!said.contains("canary-5ecret"), "{said}");
    }
}

/// A server that does not know AUTH repeats its arguments in the error.
#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_repeated() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echoing = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut said = [0; 1024];
            let read = client.read(&mut said).await.unwrap_or(0);
            let said = String::from_utf8_lossy(&said[..read]).replace("\r\n", " ");
            let _ = client.write_all(format!("-ERR unknown command, with args: {said}\r\n").as_bytes()).await;
        }
    });
    let said = all_that_is_said(&with_credentials(port, "hallpass", "canary-5ecret")).await;
    assert!(!said.contains("canary-5ecret"), "{said}");
    echoing.abort();
}

#[tokio::test]
async fn tls_with_a_root_of_ones_own() {
    let server = RedisServer::start_with(Options { tls: true, ..Options::default() });
    let trust = |url, ca_file| with(RedisSettings { ca_file, ..RedisSettings::new(url) });
    let trusted = trust(server.url(), Some(server.ca_file()));
    let store = Durable::default();
    let a = Node::ready("broker-a", &trusted, &store).await;
    a.stop(&agent()).await;
    assert!(!a.may_issue(&request()).await.unwrap());

    let unknown_root = trust(server.url(), None);
    let plain = redis_at(server.port);
    let other = RedisServer::start_with(Options { tls: true, ..Options::default() });
    let other_root = trust(server.url(), Some(other.ca_file()));
    let wrong_name = format!("rediss://localhost:{}", server.port).parse().unwrap();
    let wrong_name = trust(wrong_name, Some(server.ca_file()));
    for (why, refused) in
        [("root", unknown_root), ("plain", plain), ("other root", other_root), ("name", wrong_name)]
    {
        let node = Node::alone("broker-b", &refused, &store).await;
        assert!(!node.revocation.usable(), "{why}");
        let refilled = node.push().await;
        assert!(matches!(refilled, Err(RevocationError::Unreachable(_))), "{why}: {refilled:?}");
    }
}

#[tokio::test]
async fn a_redis_that_asks_for_a_certificate_is_shown_one() {
    let tls =
        || RedisServer::start_with(Options { tls: true, asks_certificates: true, ..Options::default() });
    let (server, stranger) = (tls(), tls());
    let [cert, key] = server.client_files();
    let [others_cert, others_key] = stranger.client_files();
    let with = |client| {
        let ca_file = Some(server.ca_file());
        with(RedisSettings { ca_file, client, ..RedisSettings::new(server.url()) })
    };
    let store = Durable::default();
    let own = with(Some(ClientFiles { cert: cert.clone(), key: key.clone() }));
    let a = Node::ready("broker-a", &own, &store).await;
    a.stop(&agent()).await;
    assert!(!a.may_issue(&request()).await.unwrap());
    for client in [None, Some(ClientFiles { cert: others_cert, key: others_key.clone() })] {
        let node = Node::alone("broker-b", &with(client), &store).await;
        assert!(!node.revocation.usable());
    }
    // The key of another certificate is told at once.
    let mixed = with(Some(ClientFiles { cert, key: others_key }));
    let connected = connect_of(ORIGIN, "a", &mixed, clock()).await;
    assert!(
        matches!(&connected, Err(RevocationError::Settings(text)) if text.contains("key")),
        "{connected:?}"
    );
}

/// 150 ms there and back.
#[tokio::test]
async fn a_redis_far_away_is_used_and_one_that_is_too_far_is_told_with_its_limit() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    proxy.delay(Duration::from_millis(75));
    let a = Node::ready("broker-a", &redis_at(proxy.port), &store).await;
    let b = Node::ready("broker-b", &redis_at(server.port), &store).await;
    for _ in 0..5 {
        let change = a.stop(&agent()).await;
        assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
        assert!(!a.may_issue(&request()).await.unwrap());
        assert!(a.may_issue(&others()).await.unwrap());
        assert!(in_view(&b, &agent()) && in_view(&a, &agent()));
        a.lift(&agent()).await;
    }
    // Two seconds there and back are more than `max_staleness` of two seconds allows, and less than one of fifteen.
    proxy.cut();
    eventually("the loss", || !a.revocation.usable()).await;
    proxy.delay(Duration::from_millis(300));
    let says = || matches!(a.revocation.status(), Status::Unusable(why) if why.contains("999 ms") && why.contains("max_staleness"));
    eventually("the limit", says).await;
    let patient = RevocationSettings { max_staleness: Duration::from_secs(15), ..redis_at(proxy.port) };
    let c = Node::ready("broker-c", &patient, &store).await;
    assert!(c.may_issue(&others()).await.unwrap());
}

#[tokio::test]
async fn nonsense_settings_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let no_certificate = folder.path().join("empty.pem");
    std::fs::write(&no_certificate, "nothing").unwrap();
    let missing = folder.path().join("missing.pem");
    let cases = [
        ("redis://127.0.0.1", &no_certificate),
        ("rediss://127.0.0.1", &no_certificate),
        ("rediss://127.0.0.1", &missing),
    ];
    for (url, ca_file) in cases {
        let url = url.parse().unwrap();
        let settings = with(RedisSettings { ca_file: Some(ca_file.clone()), ..RedisSettings::new(url) });
        let connected = connect_of(ORIGIN, "a", &settings, clock()).await;
        assert!(matches!(connected, Err(RevocationError::Settings(_))), "{connected:?}");
    }
}
