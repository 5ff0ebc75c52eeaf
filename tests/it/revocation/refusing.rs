//! A Redis that answers PING and refuses writes is down.

use super::*;
use crate::support::redis::Options;

/// What makes it refuse, and what ends that.
struct Refusal(&'static [&'static str], &'static [&'static str]);

async fn is_down(server: &RedisServer, Refusal(begin, end): Refusal) {
    let store = Durable::default();
    let settings = redis_at(server.port);
    let a = Node::ready("broker-a", &settings, &store).await;
    let b = Node::ready("broker-b", &settings, &store).await;
    let change = a.stop(&owner()).await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());

    server.command::<redis::Value>(begin);
    let started = Instant::now();
    eventually("a word about it", || matches!(a.revocation.status(), Status::Unusable(_))).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(server.command::<String>(&["PING"]), "PONG");
    store.stop(&agent());
    let pushed = a.push().await;
    assert!(matches!(pushed, Err(RevocationError::Unreachable(_))), "{pushed:?}");
    let who = a.revocation.unconfirmed();
    assert_eq!((who.confirmed, who.pending), (names(&["broker-a"]), names(&["broker-b"])));
    assert!(a.revocation.ask(&request()).await.is_err(), "nobody may rely on what it says");
    assert!(a.revocation.known().verdict(&request()).is_dead(), "this node refuses by the stop");
    // And it goes on so, however often it answers PING.
    for _ in 0..60 {
        assert!(matches!(a.revocation.status(), Status::Unusable(_)));
        assert!(a.revocation.ask(&request()).await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    server.command::<redis::Value>(end);
    for node in [&a, &b] {
        node.wait_until_ready().await;
        recovered(node).await;
        assert!(!node.may_issue(&request()).await.unwrap());
    }
    eventually("the stop at the other", || {
        in_view(&b, &owner()) && b.revocation.view().unwrap().get(&agent()).is_some()
    })
    .await;
    let change = a.push().await.unwrap();
    assert_eq!(a.seen(&change, 5_000).await, (vec!["broker-a".into(), "broker-b".into()], vec![]));
}

#[tokio::test]
async fn a_full_one() {
    let server = RedisServer::start_with(Options {
        config: "maxmemory-policy noeviction\n".to_owned(),
        ..Options::default()
    });
    let refusal = Refusal(&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]);
    is_down(&server, refusal).await;
}

#[tokio::test]
async fn one_that_became_a_replica() {
    // Of nobody that answers: it keeps what it has, and serves reads.
    let server = RedisServer::start();
    is_down(&server, Refusal(&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"])).await;
}

#[tokio::test]
async fn one_with_too_few_replicas() {
    let server = RedisServer::start();
    let refusal = Refusal(
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
    );
    is_down(&server, refusal).await;
}

#[tokio::test]
async fn one_that_took_a_permission_away() {
    for (without, with) in [("-hset", "+hset"), ("-xadd", "+xadd"), ("-evalsha", "+evalsha")] {
        let server = RedisServer::start();
        let store = Durable::default();
        let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
        let b = Node::ready("broker-b", &redis_at(server.port), &store).await;
        let change = a.stop(&owner()).await;
        assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
        server.command::<redis::Value>(&["ACL", "SETUSER", "default", without]);
        store.stop(&agent());
        let pushed = a.push().await;
        assert!(matches!(pushed, Err(RevocationError::Unreachable(_))), "{without}: {pushed:?}");
        eventually("a word about it", || !b.revocation.usable()).await;
        assert_eq!(b.revocation.unconfirmed().pending, names(&["broker-a"]), "{without}");
        assert!(b.revocation.ask(&others()).await.is_err(), "{without}");
        server.command::<redis::Value>(&["ACL", "SETUSER", "default", with]);
        for node in [&a, &b] {
            recovered(node).await;
            assert!(!node.may_issue(&request()).await.unwrap(), "{with}");
        }
    }
}
