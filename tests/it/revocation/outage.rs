//! Redis goes away, forgets, comes back: nothing is un-revoked, and the node recovers by itself.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::support::proxy::Proxy;
use crate::support::redis::Options;

/// Asks for a stopped agent over and over; must never hear that it may have a token.
pub(super) struct Watch(JoinHandle<(u32, u32)>, watch::Sender<bool>);

impl Watch {
    pub(super) fn over(node: &Arc<Node>) -> Self {
        let (end, ended) = watch::channel(false);
        let node = node.clone();
        Self(
            tokio::spawn(async move {
                let (mut refused, mut failed) = (0, 0);
                while !*ended.borrow() {
                    match node.may_issue(&request()).await {
                        Ok(true) => panic!("a stopped agent may have a token"),
                        Ok(false) => refused += 1,
                        Err(_) => failed += 1,
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (refused, failed)
            }),
            end,
        )
    }

    /// How often it was refused, and how often nothing was known.
    pub(super) async fn end(self) -> (u32, u32) {
        self.1.send_replace(true);
        self.0.await.unwrap()
    }
}

#[tokio::test]
async fn flushed_is_noticed_and_refilled() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let alone = Node::alone("broker-b", &redis_at(server.port), &store).await;
    alone.push().await.unwrap();
    node.stop(&owner()).await;
    node.stop(&agent()).await;
    node.lift(&owner()).await;
    let lifted = store.revision();
    assert_eq!(alone.asked(&request()).await.unwrap().stopped, Some(agent()));

    server.command::<()>(&["FLUSHALL"]);
    // Whether or not the other node has already refilled it.
    assert_eq!(alone.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    assert_eq!(
        alone.revocation.ask(&request()).await.map(drop),
        Err(RevocationError::Amnesia),
        "until it is refilled"
    );
    alone.push().await.unwrap();
    let verdict = alone.asked(&request()).await.unwrap();
    assert_eq!((verdict.stopped, verdict.as_of), (Some(agent()), lifted));
    assert!(alone.asked(&since(r(0))).await.unwrap().overtaken, "what was lifted is dead before it");
    assert!(!node.may_issue(&request()).await.unwrap());
}

/// Each way to lose the stops, and none of the others.
#[tokio::test]
async fn every_partial_loss_is_amnesia() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    store.stop(&agent());
    node.push().await.unwrap();
    let first: String = server.command(&["HGET", STOPS, "state"]);
    store.stop(&owner());
    let with = |n: usize, text: &str| {
        let state: String = server.command(&["HGET", STOPS, "state"]);
        let mut parts: Vec<&str> = state.split(' ').collect();
        parts[n] = text;
        parts.join(" ")
    };
    let zero = "0".repeat(64);
    let mark_of = |state: &str| state.split(' ').nth(4).unwrap().to_owned();
    let losses: [&dyn Fn() -> Vec<String>; 6] = [
        &|| vec!["DEL".into(), STOPS.into()],
        &|| vec!["HDEL".into(), STOPS.into(), "state".into()],
        &|| vec!["HSET".into(), STOPS.into(), "state".into(), with(1, "someone-else.1.2")],
        &|| vec!["HSET".into(), STOPS.into(), "state".into(), with(2, "0")],
        &|| {
            vec![
                "HSET".into(),
                STOPS.into(),
                "state".into(),
                with(3, "0").replace(&mark_of(&with(3, "0")), &zero),
            ]
        },
        &|| vec!["FLUSHALL".into()],
    ];
    for loss in losses {
        node.push().await.unwrap();
        assert_eq!(node.revocation.ask(&request()).await.unwrap().verdict(&request()).stopped, Some(owner()));
        let words = loss();
        server.command::<redis::Value>(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            node.revocation.ask(&request()).await.map(drop),
            Err(RevocationError::Amnesia),
            "{words:?}"
        );
    }
    // An earlier state as a whole: what a snapshot brings back.
    node.push().await.unwrap();
    let now: String = server.command(&["HGET", STOPS, "state"]);
    assert_ne!(first, now);
    server.command::<i64>(&["HSET", STOPS, "state", &first]);
    server.command::<i64>(&["HDEL", STOPS, &owner().to_string()]);
    assert_eq!(node.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    node.push().await.unwrap();
    assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(owner()));
}

#[tokio::test]
async fn a_push_does_not_vouch_for_what_it_did_not_see() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let other = Node::alone("broker-b", &redis_at(server.port), &store).await;
    other.push().await.unwrap();
    node.stop(&agent()).await;
    server.command::<()>(&["FLUSHALL"]);
    // It knows of the first change alone what Redis said before; the push brings every one.
    other.stop(&Target::Everything).await;
    assert_eq!(other.asked(&others()).await.unwrap().stopped, Some(Target::Everything));
    let held = other.revocation.load().await.unwrap();
    assert!(held.get(&agent()).is_some_and(|standing| standing.stop.is_some()));
    assert_eq!(held.revision(), store.revision());
}

#[tokio::test]
async fn restarted_empty_issues_nothing_to_a_stopped_agent() {
    let (mut server, store) = (RedisServer::start(), Durable::default());
    let node = Arc::new(Node::ready("broker-a", &redis_at(server.port), &store).await);
    node.stop(&agent()).await;
    let watch = Watch::over(&node);
    for round in 0..3 {
        if round == 0 {
            server.stop()
        } else {
            server.kill()
        }
        let started = Instant::now();
        assert!(matches!(node.may_issue(&others()).await, Err(RevocationError::Unreachable(_))));
        assert!(started.elapsed() < Duration::from_millis(500));
        eventually("unusable", || matches!(node.revocation.status(), Status::Unusable(_))).await;
        server.restart();
        recovered(&node).await;
        assert!(!node.may_issue(&request()).await.unwrap());
    }
    let (refused, failed) = watch.end().await;
    assert!(refused > 0 && failed > 0, "{refused} {failed}");
}

/// What was lost may be what this node never saw: then nothing looks lost.
#[tokio::test]
async fn a_new_connection_is_refilled_before_it_is_trusted() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    for _ in 0..3 {
        node.push().await.unwrap();
        assert!(node.revocation.ask(&request()).await.is_ok());
        server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("a new connection", || node.revocation.status() == Status::Unfilled).await;
        assert_eq!(node.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    }
}

/// In the instant before a loss is noticed, a node still refuses what it has confirmed to refuse.
#[tokio::test]
async fn what_this_node_knows_it_refuses_whatever_redis_says() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    node.stop(&agent()).await;
    for forget in [
        &["HSET", STOPS, "agent:payments-refactorer", "0 0 -"][..],
        &["HDEL", STOPS, "agent:payments-refactorer"],
    ] {
        server.command::<i64>(forget);
        assert!(!node.may_issue(&request()).await.unwrap(), "{forget:?}");
    }
}

#[tokio::test]
async fn a_replica_is_never_trusted() {
    let (primary, replica, store) = (RedisServer::start(), RedisServer::start(), Durable::default());
    let first = Node::alone("broker-a", &redis_at(primary.port), &store).await;
    first.push().await.unwrap();
    replica.command::<()>(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    eventually("a replica", || replica.command::<Option<String>>(&["HGET", STOPS, "state"]).is_some()).await;
    let second = Node::alone("broker-b", &redis_at(replica.port), &store).await;
    assert_eq!(second.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    let refilled = second.push().await;
    assert!(matches!(refilled, Err(RevocationError::Unreachable(_))), "{refilled:?}");
    assert!(second.revocation.ask(&request()).await.is_err());
}

#[tokio::test]
async fn kept_on_disk_is_known_again_and_lost_files_are_refilled() {
    let mut server = RedisServer::start_with(Options { append_only: true, ..Options::default() });
    let store = Durable::default();
    let node = Arc::new(Node::ready("broker-a", &redis_at(server.port), &store).await);
    node.stop(&agent()).await;
    let watch = Watch::over(&node);
    server.kill();
    server.restart();
    let kept: Option<String> = server.command(&["HGET", STOPS, &agent().to_string()]);
    assert!(kept.is_some());
    recovered(&node).await;
    server.kill();
    server.lose_data();
    server.restart();
    recovered(&node).await;
    assert!(!node.may_issue(&request()).await.unwrap());
    watch.end().await;
}

#[tokio::test]
async fn a_black_hole_fails_fast_and_heals() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let node = Arc::new(Node::ready("broker-a", &redis_at(proxy.port), &store).await);
    node.stop(&agent()).await;
    let watch = Watch::over(&node);
    let ways: [(&str, &dyn Fn()); 4] = [
        ("black hole", &|| proxy.black_hole()),
        ("cut", &|| proxy.cut()),
        ("half close", &|| proxy.half_close()),
        ("delay", &|| proxy.delay(Duration::from_secs(1))),
    ];
    for (way, broken) in ways {
        broken();
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let started = Instant::now();
            assert!(node.may_issue(&others()).await.is_err(), "{way}");
            slowest = slowest.max(started.elapsed());
        }
        assert!(slowest < Duration::from_millis(500), "{way}: {slowest:?}");
        proxy.pass();
        let healed = recovered(&node).await;
        assert!(healed < Duration::from_secs(2), "{way}: {healed:?}");
        assert!(!node.may_issue(&request()).await.unwrap(), "{way}");
    }
    let (refused, failed) = watch.end().await;
    assert!(refused > 0 && failed > 0, "{refused} {failed}");
}

#[tokio::test]
async fn a_view_without_redis_grows_stale_and_fresh_again() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let settings = RevocationSettings { max_staleness: Duration::from_millis(800), ..redis_at(proxy.port) };
    let node = Node::ready("broker-a", &settings, &store).await;
    node.stop(&agent()).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2_000) {
        assert!(in_view(&node, &agent()), "an idle Redis keeps the view fresh");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.black_hole();
    let started = Instant::now();
    eventually("staleness", || node.revocation.view().is_err()).await;
    assert!(started.elapsed() < Duration::from_millis(1_000), "{:?}", started.elapsed());
    assert!(node.revocation.view_age() > Duration::from_millis(800));
    let known = node.revocation.known().verdict(&request());
    assert_eq!(known.stopped, Some(agent()), "what it has confirmed it does not forget by growing old");
    proxy.pass();
    eventually("a fresh view", || node.revocation.view().is_ok()).await;
    assert!(in_view(&node, &agent()));
}

/// What comes late is as old as the question it answers.
#[tokio::test]
async fn a_late_answer_is_an_old_one() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let settings = RevocationSettings { max_staleness: Duration::from_millis(100), ..redis_at(proxy.port) };
    let node = Node::ready("broker-a", &settings, &store).await;
    proxy.delay(Duration::from_millis(60)); // twice a round: longer than allowed, shorter than a timeout
    eventually("staleness", || node.revocation.view().is_err()).await;
    let mut fresh = 0;
    for _ in 0..100 {
        fresh += usize::from(node.revocation.view().is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fresh, 0);
}

#[tokio::test]
async fn a_node_starts_without_redis_and_finds_it_later() {
    let (mut server, store) = (RedisServer::start(), Durable::default());
    server.stop();
    let started = Instant::now();
    let node = Node::start("broker-a", &redis_at(server.port), &store).await;
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(matches!(node.revocation.status(), Status::Unusable(_)));
    assert!(!node.revocation.usable());
    let asked = node.revocation.ask(&request()).await;
    assert!(matches!(asked, Err(RevocationError::Unreachable(_))), "{asked:?}");
    let once = node
        .revocation
        .use_once(&"a".parse().unwrap(), hallpass::domain::digest::Digest::of(b"x"), at(100))
        .await;
    assert!(once.is_err());
    // Its own view takes a stop all the same, and the refill brings it to Redis.
    store.stop(&agent());
    assert!(node.push().await.is_err());
    server.restart();
    recovered(&node).await;
    assert!(!node.may_issue(&request()).await.unwrap());
}
