//! Redis goes away, forgets, comes back: nothing is un-revoked, and the broker recovers by itself.

use hallpass::revocation::Status;

use super::*;
use crate::support::proxy::Proxy;
use crate::support::redis::Options;

/// Asks for a stopped agent over and over; must never hear that it may have a token.
struct Watch(JoinHandle<(u32, u32)>, watch::Sender<bool>);

impl Watch {
    fn over(broker: &Arc<Broker>) -> Self {
        let (end, ended) = watch::channel(false);
        let broker = broker.clone();
        Self(
            tokio::spawn(async move {
                let (mut refused, mut failed) = (0, 0);
                while !*ended.borrow() {
                    match broker.may_issue(&levels()).await {
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
    async fn end(self) -> (u32, u32) {
        self.1.send_replace(true);
        self.0.await.unwrap()
    }
}

#[tokio::test]
async fn flushed_is_noticed_and_refilled() {
    let server = RedisServer::start();
    let broker = Broker::ready("broker-a", &redis_at(server.port)).await;
    let alone = connect("broker-b", &redis_at(server.port)).await;
    alone.refill(&StopBook::default()).await.unwrap();
    broker.revoke(&agent(), stopped(1, 1)).await;
    broker.revoke(&Target::Owner(levels().owner), lifted(2)).await;
    assert_eq!(alone.ask(&levels()).await.unwrap().stopped, Some(agent()));

    server.command::<()>(&["FLUSHALL"]);
    // Whether or not the other broker has already refilled it.
    assert_eq!(alone.ask(&levels()).await, Err(RevocationError::Amnesia));
    assert_eq!(alone.ask(&levels()).await, Err(RevocationError::Amnesia), "until it is refilled");
    alone.refill(&broker.book.load()).await.unwrap();
    let verdict = alone.ask(&levels()).await.unwrap();
    assert_eq!((verdict.stopped, verdict.through), (Some(agent()), Some(START + 2)));
    assert!(!broker.may_issue(&levels()).await.unwrap());
}

/// Each way to lose the stops, and none of the others.
#[tokio::test]
async fn every_partial_loss_is_amnesia() {
    let server = RedisServer::start();
    let revocation = connect("broker-a", &redis_at(server.port)).await;
    let durable = book(&[(agent(), stopped(1, 1))]);
    for loss in [
        &["DEL", "hallpass:{revocation}:revision"][..],
        &["SET", "hallpass:{revocation}:revision", "0"],
        &["SET", "hallpass:{revocation}:revision", "many"],
        &["DEL", "hallpass:{revocation}:stops"],
        &["HDEL", "hallpass:{revocation}:stops", "lineage"],
        &["HSET", "hallpass:{revocation}:stops", "lineage", "99 someone-else.1.2 aa"],
        &["HSET", "hallpass:{revocation}:stops", "lineage", "nonsense"],
        &["FLUSHALL"],
    ] {
        revocation.refill(&durable).await.unwrap();
        assert_eq!(revocation.ask(&levels()).await.unwrap().stopped, Some(agent()));
        server.command::<redis::Value>(loss);
        assert_eq!(revocation.ask(&levels()).await, Err(RevocationError::Amnesia), "{loss:?}");
        let change = revocation.apply(&Target::Everything, lifted(1)).await;
        assert!(matches!(change, Ok(_) | Err(RevocationError::Amnesia)), "{loss:?}");
    }
}

#[tokio::test]
async fn apply_does_not_vouch_for_an_empty_redis() {
    let server = RedisServer::start();
    let broker = Broker::ready("broker-a", &redis_at(server.port)).await;
    broker.revoke(&agent(), stopped(1, 1)).await;
    let other = connect("broker-b", &redis_at(server.port)).await;
    server.command::<()>(&["FLUSHALL"]);
    assert_eq!(other.apply(&Target::Everything, stopped(2, 2)).await, Err(RevocationError::Amnesia));
    other.refill(&broker.book.load()).await.unwrap();
    // What it was told before it could write, it wrote with the refill.
    assert_eq!(other.ask(&others()).await.unwrap().stopped, Some(Target::Everything));
}

#[tokio::test]
async fn restarted_empty_issues_nothing_to_a_stopped_agent() {
    let mut server = RedisServer::start();
    let broker = Arc::new(Broker::ready("broker-a", &redis_at(server.port)).await);
    broker.revoke(&agent(), stopped(1, 1)).await;
    let watch = Watch::over(&broker);
    for round in 0..3 {
        if round == 0 {
            server.stop()
        } else {
            server.kill()
        }
        let started = Instant::now();
        assert!(matches!(broker.may_issue(&others()).await, Err(RevocationError::Unreachable(_))));
        assert!(started.elapsed() < Duration::from_millis(500));
        eventually("unusable", || matches!(broker.revocation.status(), Status::Unusable(_))).await;
        server.restart();
        recovered(&broker).await;
        assert!(!broker.may_issue(&levels()).await.unwrap());
    }
    let (refused, failed) = watch.end().await;
    assert!(refused > 0 && failed > 0, "{refused} {failed}");
}

/// The last writes are lost, and then as many others are made: no number tells.
#[tokio::test]
async fn a_fork_with_as_many_changes_is_noticed() {
    let (before, after) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::to(before.port).await;
    let revocation = connect("broker-a", &redis_at(proxy.port)).await;
    revocation.refill(&StopBook::default()).await.unwrap();
    after.command::<()>(&["REPLICAOF", "127.0.0.1", &before.port.to_string()]);
    eventually("a replica", || {
        let lineage: Option<String> = after.command(&["HGET", "hallpass:{revocation}:stops", "lineage"]);
        lineage.is_some()
    })
    .await;
    after.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    let lost = revocation.apply(&agent(), stopped(1, 1)).await.unwrap();
    let elsewhere = connect("broker-b", &redis_at(after.port)).await;
    elsewhere.refill(&StopBook::default()).await.unwrap();
    let gained = elsewhere.apply(&Target::Owner(others().owner), stopped(2, 1)).await.unwrap();
    assert_eq!(lost.number(), gained.number());

    proxy.redirect(after.port);
    proxy.cut();
    eventually("the loss", || !revocation.usable()).await;
    proxy.pass();
    let durable = book(&[(agent(), stopped(1, 1))]);
    eventually("a new connection", || revocation.status() == Status::Unfilled).await;
    assert_eq!(revocation.ask(&levels()).await, Err(RevocationError::Amnesia));
    revocation.refill(&durable).await.unwrap();
    assert_eq!(revocation.ask(&levels()).await.unwrap().stopped, Some(agent()));
    // The other broker's connection never broke; the new epoch tells it.
    assert_eq!(elsewhere.ask(&levels()).await, Err(RevocationError::Amnesia));
    elsewhere.refill(&durable).await.unwrap();
    assert_eq!(elsewhere.ask(&levels()).await.unwrap().stopped, Some(agent()));
    assert_eq!(elsewhere.ask(&others()).await.unwrap().stopped, Some(Target::Owner(others().owner)));
}

/// Other changes, as many, over a connection that never broke: behind a load balancer, a failover looks so.
#[tokio::test]
async fn a_fork_under_an_open_connection_is_noticed() {
    let server = RedisServer::start();
    let (lineage, stops) = ("lineage", "hallpass:{revocation}:stops");
    let alone = connect("broker-b", &redis_at(server.port)).await;
    let broker = Broker::ready("broker-a", &redis_at(server.port)).await;
    broker.revoke(&agent(), stopped(1, 1)).await;
    alone.refill(&StopBook::default()).await.unwrap();
    assert_eq!(alone.ask(&levels()).await.unwrap().stopped, Some(agent()));

    let before: String = server.command(&["HGET", stops, lineage]);
    let (number_and_epoch, chain) = before.rsplit_once(' ').unwrap();
    let other = format!("{number_and_epoch} {}", chain.chars().rev().collect::<String>());
    assert_ne!(before, other);
    server.command::<i64>(&["HDEL", stops, &agent().to_string()]);
    server.command::<i64>(&["HSET", stops, lineage, &other]);
    assert_eq!(alone.ask(&levels()).await, Err(RevocationError::Amnesia));
    // The follower finds it by itself, and begins an epoch in which the stop is back.
    eventually("a new epoch", || {
        let now: Option<String> = server.command(&["HGET", stops, lineage]);
        now.is_some_and(|now| !now.contains(number_and_epoch.split_once(' ').unwrap().1))
    })
    .await;
    let back: Option<String> = server.command(&["HGET", stops, &agent().to_string()]);
    assert!(back.is_some());
    eventually("trust", || broker.revocation.status() == Status::Usable).await;
    assert!(!broker.may_issue(&levels()).await.unwrap());
}

/// What was lost may be what this broker never saw: then nothing looks lost.
#[tokio::test]
async fn a_new_connection_is_refilled_before_it_is_trusted() {
    let server = RedisServer::start();
    let revocation = connect("broker-a", &redis_at(server.port)).await;
    for _ in 0..3 {
        revocation.refill(&StopBook::default()).await.unwrap();
        assert!(revocation.ask(&levels()).await.is_ok());
        server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("a new connection", || revocation.status() == Status::Unfilled).await;
        assert_eq!(revocation.ask(&levels()).await, Err(RevocationError::Amnesia));
    }
}

/// In the instant before a loss is noticed, a broker still refuses what it has confirmed to refuse.
#[tokio::test]
async fn what_this_broker_knows_it_refuses_whatever_redis_says() {
    let server = RedisServer::start();
    let revocation = connect("broker-a", &redis_at(server.port)).await;
    revocation.refill(&StopBook::default()).await.unwrap();
    revocation.apply(&agent(), stopped(1, 5)).await.unwrap();
    let key = "hallpass:{revocation}:stops";
    for forget in
        [&["HSET", key, "agent:payments-refactorer", "1 -"][..], &["HDEL", key, "agent:payments-refactorer"]]
    {
        server.command::<i64>(forget);
        assert_eq!(revocation.ask(&levels()).await.unwrap().stopped, Some(agent()), "{forget:?}");
    }
}

#[tokio::test]
async fn a_replica_is_never_trusted() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    let first = connect("broker-a", &redis_at(primary.port)).await;
    first.refill(&StopBook::default()).await.unwrap();
    replica.command::<()>(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    eventually("a replica", || {
        let lineage: Option<String> = replica.command(&["HGET", "hallpass:{revocation}:stops", "lineage"]);
        lineage.is_some()
    })
    .await;
    let second = connect("broker-b", &redis_at(replica.port)).await;
    assert_eq!(second.ask(&levels()).await, Err(RevocationError::Amnesia));
    let refilled = second.refill(&StopBook::default()).await;
    assert!(matches!(refilled, Err(RevocationError::Unreachable(_))), "{refilled:?}");
    assert!(second.ask(&levels()).await.is_err());
}

#[tokio::test]
async fn kept_on_disk_is_known_again_and_lost_files_are_refilled() {
    let mut server = RedisServer::start_with(Options { append_only: true, ..Options::default() });
    let broker = Arc::new(Broker::ready("broker-a", &redis_at(server.port)).await);
    broker.revoke(&agent(), stopped(1, 1)).await;
    let watch = Watch::over(&broker);
    server.kill();
    server.restart();
    let kept: Option<String> = server.command(&["HGET", "hallpass:{revocation}:stops", &agent().to_string()]);
    assert!(kept.is_some());
    recovered(&broker).await;
    server.kill();
    server.lose_data();
    server.restart();
    recovered(&broker).await;
    assert!(!broker.may_issue(&levels()).await.unwrap());
    watch.end().await;
}

#[tokio::test]
async fn a_black_hole_fails_fast_and_heals() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let broker = Arc::new(Broker::ready("broker-a", &redis_at(proxy.port)).await);
    broker.revoke(&agent(), stopped(1, 1)).await;
    let watch = Watch::over(&broker);
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
            assert!(broker.may_issue(&others()).await.is_err(), "{way}");
            slowest = slowest.max(started.elapsed());
        }
        assert!(slowest < Duration::from_millis(500), "{way}: {slowest:?}");
        proxy.pass();
        let healed = recovered(&broker).await;
        assert!(healed < Duration::from_secs(2), "{way}: {healed:?}");
        assert!(!broker.may_issue(&levels()).await.unwrap(), "{way}");
    }
    let (refused, failed) = watch.end().await;
    assert!(refused > 0 && failed > 0, "{refused} {failed}");
}

#[tokio::test]
async fn a_view_without_redis_grows_stale_and_fresh_again() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let settings = RevocationSettings { max_staleness: Duration::from_millis(800), ..redis_at(proxy.port) };
    let broker = Broker::ready("broker-a", &settings).await;
    broker.revoke(&agent(), stopped(1, 1)).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2_000) {
        assert!(in_view(&broker, &agent()), "an idle Redis keeps the view fresh");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.black_hole();
    let started = Instant::now();
    eventually("staleness", || broker.revocation.view(&others()).is_err()).await;
    assert!(started.elapsed() < Duration::from_millis(1_000), "{:?}", started.elapsed());
    assert!(broker.revocation.view_age() > Duration::from_millis(800));
    let known = broker.revocation.known(&levels());
    assert_eq!(known.stopped, Some(agent()), "what it has confirmed it does not forget by growing old");
    proxy.pass();
    eventually("a fresh view", || broker.revocation.view(&others()).is_ok()).await;
    assert!(in_view(&broker, &agent()));
}

/// What comes late is as old as the question it answers.
#[tokio::test]
async fn a_late_answer_is_an_old_one() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let settings = RevocationSettings { max_staleness: Duration::from_millis(100), ..redis_at(proxy.port) };
    let broker = Broker::ready("broker-a", &settings).await;
    proxy.delay(Duration::from_millis(60)); // twice a round: longer than allowed, shorter than a timeout
    eventually("staleness", || broker.revocation.view(&others()).is_err()).await;
    let mut fresh = 0;
    for _ in 0..100 {
        fresh += usize::from(broker.revocation.view(&others()).is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fresh, 0);
}

#[tokio::test]
async fn a_broker_starts_without_redis_and_finds_it_later() {
    let mut server = RedisServer::start();
    server.stop();
    let started = Instant::now();
    let broker = Broker::start("broker-a", &redis_at(server.port)).await;
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(matches!(broker.revocation.status(), Status::Unusable(_)));
    assert!(!broker.revocation.usable());
    let asked = broker.revocation.ask(&levels()).await;
    assert!(matches!(asked, Err(RevocationError::Unreachable(_))), "{asked:?}");
    let once = broker
        .revocation
        .use_once(&"a".parse().unwrap(), hallpass::domain::digest::Digest::of(b"x"), at(100))
        .await;
    assert!(once.is_err());
    // Its own view takes a stop all the same, and the refill brings it to Redis.
    assert!(broker.revocation.apply(&agent(), stopped(1, 1)).await.is_err());
    server.restart();
    recovered(&broker).await;
    assert!(!broker.may_issue(&levels()).await.unwrap());
}
