//! What others may put into Redis or between, who may do what there, and what of it is told.

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::support::redis::Options;

const STOPS: &str = "hallpass:{revocation}:stops";

fn with_credentials(port: u16, username: &str, password: &str) -> RevocationSettings {
    let url = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let password = Some(SecretString::from(password));
    settings(Backend::Redis { url, username: Some(username.into()), password, ca_file: None })
}

#[tokio::test]
async fn what_cannot_be_read_is_never_taken_for_not_stopped() {
    let server = RedisServer::start();
    let broker = Broker::ready("broker-a", &redis_at(server.port)).await;
    // It follows nothing, so it asks about the targets themselves.
    let asking = connect("broker-b", &redis_at(server.port)).await;
    asking.refill(&StopBook::default()).await.unwrap();
    let target = agent().to_string();
    for text in
        ["", "1", "x -", "-5 -", "1 x", "1 - 2", "9999999999999999 -", "1e3 -", "1 \u{fffd}", "0x10 -"]
    {
        server.command::<i64>(&["HSET", STOPS, &target, text]);
        let asked = asking.ask(&levels()).await;
        assert!(matches!(asked, Err(RevocationError::Broken(_))), "{text:?}: {asked:?}");
        assert!(asking.ask(&others()).await.is_ok(), "{text:?} is not theirs");
        let applied = broker.revocation.apply(&agent(), stopped(1, 1)).await;
        assert!(matches!(applied, Err(RevocationError::Broken(_))), "{text:?}: {applied:?}");
        let filled = broker.revocation.refill(&book(&[(agent(), stopped(1, 1))])).await;
        assert!(matches!(filled, Err(RevocationError::Broken(_))), "{text:?}: {filled:?}");
        let left: String = server.command(&["HGET", STOPS, &target]);
        assert_eq!(left, text, "nothing was written");
    }
    server.command::<i64>(&["HDEL", STOPS, &target]);
    broker.revocation.refill(&StopBook::default()).await.unwrap();
    assert_eq!(broker.revocation.ask(&levels()).await.unwrap().stopped, Some(agent()));
}

#[tokio::test]
async fn keys_of_another_type_are_errors() {
    for key in ["stops", "log", "revision"] {
        let server = RedisServer::start();
        let revocation = connect("broker-a", &redis_at(server.port)).await;
        revocation.refill(&StopBook::default()).await.unwrap();
        let key = format!("hallpass:{{revocation}}:{key}");
        server.command::<i64>(&["DEL", &key]);
        server.command::<i64>(&["SADD", &key, "x"]);
        let applied = revocation.apply(&agent(), stopped(1, 1)).await;
        assert!(applied.is_err(), "{key}");
        assert!(revocation.refill(&book(&[(agent(), stopped(1, 1))])).await.is_err(), "{key}");
        let stored: redis::Value = server.command(&["TYPE", &key]);
        assert_eq!(stored, redis::Value::SimpleString("set".into()), "{key} was left alone");
        if key.ends_with("stops") || key.ends_with("revision") {
            assert!(revocation.ask(&levels()).await.is_err(), "{key}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_stop_makes_the_view_stale() {
    let server = RedisServer::start();
    let settings = RevocationSettings { max_staleness: Duration::from_millis(400), ..redis_at(server.port) };
    for (field, text) in [("team:x", "1 -"), ("agent:x", "never")] {
        server.command::<()>(&["FLUSHALL"]);
        let broker = Broker::ready("broker-a", &settings).await;
        server.command::<i64>(&["HSET", STOPS, field, text]);
        server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("staleness", || broker.revocation.view(&others()).is_err()).await;
        eventually("a word about it", || !broker.revocation.usable()).await;
        assert!(broker.revocation.status().to_string().contains(field), "{}", broker.revocation.status());
        server.command::<i64>(&["HDEL", STOPS, field]);
        eventually("a view", || broker.revocation.view(&others()).is_ok()).await;
    }
}

#[tokio::test]
async fn the_documented_user_is_enough_and_no_more() {
    let documented = include_str!("../../../src/revocation/redis/mod.rs");
    let line = documented.lines().find_map(|line| line.strip_prefix("//! user hallpass ")).unwrap();
    let acl = format!("user default off\nuser hallpass {}\n", line.replace("PASSWORD", "correct-horse"));
    let server = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    let settings = with_credentials(server.port, "hallpass", "correct-horse");
    let url = format!("redis://hallpass:correct-horse@127.0.0.1:{}", server.port);
    let mut user = redis::Client::open(url).unwrap().get_connection().unwrap();
    let spent = Target::Token(token(99)).to_string();
    redis::cmd("HSET").arg(STOPS).arg(&spent).arg("1600000000000 -").exec(&mut user).unwrap();
    let a = Broker::ready("broker-a", &settings).await;
    let mut b = Broker::ready("broker-b", &settings).await;
    let revision = a.revoke(&agent(), stopped(1, 1)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap();
    assert_eq!(who.pending, []);
    assert!(!b.may_issue(&levels()).await.unwrap());
    assert!(in_view(&b, &agent()));
    let once = hallpass::domain::digest::Digest::of(b"once");
    assert_eq!(a.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(true));
    assert_eq!(b.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(false));
    b.shut_down().await;
    let who = a.revocation.confirmations(&revision, Duration::ZERO).await.unwrap();
    assert_eq!(who.pending, [], "it could say that it left");
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
    let asked = revocation.ask(&levels()).await;
    let filled = revocation.refill(&StopBook::default()).await;
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
    let backend = |url: url::Url, ca_file| Backend::Redis { url, username: None, password: None, ca_file };
    let trusted = settings(backend(server.url(), Some(server.ca_file())));
    let a = Broker::ready("broker-a", &trusted).await;
    a.revoke(&agent(), stopped(1, 1)).await;
    assert!(!a.may_issue(&levels()).await.unwrap());

    let unknown_root = settings(backend(server.url(), None));
    let plain = redis_at(server.port);
    let other = RedisServer::start_with(Options { tls: true, ..Options::default() });
    let other_root = settings(backend(server.url(), Some(other.ca_file())));
    let mut wrong_name = server.url();
    wrong_name.set_host(Some("localhost")).unwrap();
    let wrong_name = settings(backend(wrong_name, Some(server.ca_file())));
    for (why, refused) in
        [("root", unknown_root), ("plain", plain), ("other root", other_root), ("name", wrong_name)]
    {
        let revocation = connect("broker-b", &refused).await;
        assert!(!revocation.usable(), "{why}");
        let refilled = revocation.refill(&StopBook::default()).await;
        assert!(matches!(refilled, Err(RevocationError::Unreachable(_))), "{why}: {refilled:?}");
    }
}

#[tokio::test]
async fn nonsense_settings_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let no_certificate = folder.path().join("empty.pem");
    std::fs::write(&no_certificate, "nothing").unwrap();
    let missing = folder.path().join("missing.pem");
    let cases = [
        ("http://127.0.0.1", None),
        ("redis:", None),
        ("redis://user:canary-5ecret@127.0.0.1", None),
        ("rediss://127.0.0.1#insecure", None),
        ("redis://127.0.0.1?protocol=resp3", None),
        ("redis://127.0.0.1/zero", None),
        ("redis://127.0.0.1", Some(&no_certificate)),
        ("rediss://127.0.0.1", Some(&no_certificate)),
        ("rediss://127.0.0.1", Some(&missing)),
    ];
    for (url, ca_file) in cases {
        let backend = Backend::Redis {
            url: url.parse().unwrap(),
            username: None,
            password: None,
            ca_file: ca_file.cloned(),
        };
        let connected = Revocation::connect(&settings(backend), "a".parse().unwrap(), clock()).await;
        let Err(RevocationError::Settings(text)) = connected else { panic!("{url}: {connected:?}") };
        assert!(!text.contains("canary-5ecret"), "{text}");
    }
}
