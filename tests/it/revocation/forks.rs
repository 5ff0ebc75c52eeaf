//! Another server takes the place of Redis, or goes on from an earlier state of it: what was written meanwhile is lost, and what looks
//! like it may be something else.

use super::*;
use crate::support::proxy::Proxy;

/// The last writes are lost, and then as many others are made.
#[tokio::test]
async fn a_failover_to_a_replica_that_lagged_is_noticed() {
    let (before, after, store) = (RedisServer::start(), RedisServer::start(), Durable::default());
    let proxy = Proxy::to(before.port).await;
    let node = Node::alone("broker-a", &redis_at(proxy.port), &store).await;
    node.push().await.unwrap();
    after.command::<()>(&["REPLICAOF", "127.0.0.1", &before.port.to_string()]);
    eventually("a replica", || after.command::<Option<String>>(&["HGET", STOPS, "state"]).is_some()).await;
    after.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    node.stop(&agent()).await;
    // Another node finds the replica, and brings it level with what its store shows: the stop as well.
    let elsewhere = Node::alone("broker-b", &redis_at(after.port), &store).await;
    elsewhere.stop(&Target::Owner(another().owner)).await;
    assert_eq!(elsewhere.asked(&request()).await.unwrap().stopped, Some(agent()));

    proxy.redirect(after.port);
    proxy.cut();
    eventually("the loss", || !node.revocation.usable()).await;
    proxy.pass();
    eventually("a new connection", || node.revocation.status() == Status::Unfilled).await;
    assert_eq!(node.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    node.push().await.unwrap();
    for node in [&node, &elsewhere] {
        assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(agent()));
        assert_eq!(node.asked(&others()).await.unwrap().stopped, Some(Target::Owner(another().owner)));
    }
}

/// The last writes are lost, and before anybody looks, more are made than were lost: by its serial, the replica has gone
/// further than the old primary. A stop without a number, whose node is gone, is in nobody's store; whoever confirmed it
/// gives it again.
#[tokio::test]
async fn a_failover_whose_lost_writes_were_overtaken_is_noticed() {
    let (before, after, store) = (RedisServer::start(), RedisServer::start(), Durable::default());
    let proxy = Proxy::to(before.port).await;
    let node = Node::ready("broker-a", &redis_at(proxy.port), &store).await;
    let mut gone = Node::ready("broker-b", &redis_at(before.port), &store).await;
    after.command::<()>(&["REPLICAOF", "127.0.0.1", &before.port.to_string()]);
    eventually("a replica", || after.command::<Option<String>>(&["HGET", STOPS, "state"]).is_some()).await;
    after.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    let (_, lost) = gone.stop_unnumbered(&agent()).await;
    let who = gone.revocation.confirmations(&lost.unwrap(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.pending, [], "both refuse by it");
    gone.crash();
    let serial = |server: &RedisServer| -> u64 {
        let state: String = server.command(&["HGET", STOPS, "state"]);
        state.split(' ').nth(2).unwrap().parse().unwrap()
    };
    let elsewhere = Node::alone("broker-c", &redis_at(after.port), &store).await;
    while serial(&after) <= serial(&before) {
        elsewhere.stop_unnumbered(&Target::Owner(another().owner)).await.1.unwrap();
        elsewhere.stop(&Target::Token(token(9))).await;
    }

    proxy.redirect(after.port);
    proxy.cut();
    eventually("the loss", || !node.revocation.usable()).await;
    proxy.pass();
    recovered(&node).await;
    assert!(!node.may_issue(&request()).await.unwrap(), "what it confirmed to refuse");
    assert!(elsewhere.asked(&request()).await.unwrap().is_dead(), "and so does everybody else");
    node.wait_until_ready().await;
    assert!(!node.may_issue(&request()).await.unwrap(), "and does not forget it");
}

/// The same life and fewer writes, over a connection that never broke: behind a load balancer, a failover looks so.
#[tokio::test]
async fn a_fork_under_an_open_connection_is_noticed() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let alone = Node::alone("broker-b", &redis_at(server.port), &store).await;
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let earlier: String = server.command(&["HGET", STOPS, "state"]);
    node.stop(&agent()).await;
    alone.push().await.unwrap();
    assert_eq!(alone.asked(&request()).await.unwrap().stopped, Some(agent()));

    let mut fall_back = redis::pipe();
    fall_back.atomic().hdel(STOPS, agent().to_string()).ignore();
    fall_back.hset(STOPS, "state", &earlier).ignore();
    fall_back.exec(&mut server.client()).unwrap();
    // The follower may have been quicker: it begins another life, in which the stop is back.
    let asked = alone.revocation.ask(&request()).await;
    assert_eq!(asked.map(drop), Err(RevocationError::Amnesia));
    let life = earlier.split(' ').nth(1).unwrap();
    eventually("another life", || {
        let now: Option<String> = server.command(&["HGET", STOPS, "state"]);
        now.is_some_and(|now| !now.contains(life))
    })
    .await;
    eventually("the stop", || {
        server.command::<Option<String>>(&["HGET", STOPS, &agent().to_string()]).is_some()
    })
    .await;
    recovered(&node).await;
    assert!(!node.may_issue(&request()).await.unwrap());
    assert_eq!(alone.asked(&request()).await.unwrap().stopped, Some(agent()));
}
