//! Several brokers on one Redis: what one stops, the others see and confirm.

use super::*;
use crate::support::proxy::Proxy;

fn names(names: &[&str]) -> Vec<hallpass::domain::id::BrokerName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_stop_is_seen_and_confirmed_by_all() {
    let server = RedisServer::start();
    let settings = redis_at(server.port);
    let a = Broker::ready("broker-a", &settings).await;
    let b = Broker::ready("broker-b", &settings).await;
    let c = Broker::ready("broker-c", &settings).await;
    for round in 0..20 {
        let (target, change) = (agent(), stopped(1, 1 + round));
        let started = Instant::now();
        let revision = a.revoke(&target, change).await;
        let who = a.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap();
        assert_eq!(who.confirmed, names(&["broker-a", "broker-b", "broker-c"]), "round {round}");
        assert_eq!(who.pending, []);
        for broker in [&b, &c] {
            let verdict = broker.revocation.view(&levels()).unwrap();
            assert_eq!(verdict.through, Some(START + 1 + round), "confirmed means in the view");
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    let revision = b.revoke(&agent(), lifted(100)).await;
    assert_eq!(c.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap().pending, []);
    assert!(a.may_issue(&levels()).await.unwrap());
    assert_eq!(a.revocation.view(&levels()).unwrap().stopped, None);
}

#[tokio::test]
async fn a_broker_that_hangs_is_pending_until_it_is_back() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let a = Broker::ready("broker-a", &redis_at(server.port)).await;
    let b = Broker::ready("broker-b", &redis_at(proxy.port)).await;
    let first = a.revoke(&agent(), stopped(1, 1)).await;
    let who = a.revocation.confirmations(&first, Duration::from_secs(2)).await.unwrap();
    assert_eq!(who.confirmed, names(&["broker-a", "broker-b"]));
    proxy.black_hole();
    let revision = a.revoke(&Target::Everything, stopped(2, 2)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_millis(300)).await.unwrap();
    assert_eq!((who.confirmed, who.pending), (names(&["broker-a"]), names(&["broker-b"])));
    proxy.pass();
    let who = a.revocation.confirmations(&revision, Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.confirmed, names(&["broker-a", "broker-b"]));
    assert!(in_view(&b, &Target::Everything));
}

/// A flush wipes the reports too; who hangs meanwhile must not be forgotten with them.
#[tokio::test]
async fn a_flush_does_not_hide_a_broker_that_hangs() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let a = Broker::ready("broker-a", &redis_at(server.port)).await;
    let _b = Broker::ready("broker-b", &redis_at(proxy.port)).await;
    let revision = a.revoke(&agent(), stopped(1, 1)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap();
    assert_eq!(who.pending, []);
    proxy.black_hole();
    server.command::<()>(&["FLUSHALL"]);
    let revision = a.revoke(&Target::Everything, stopped(2, 2)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_millis(100)).await.unwrap();
    assert_eq!((who.confirmed, who.pending), (names(&["broker-a"]), names(&["broker-b"])));
}

#[tokio::test]
async fn a_broker_that_shuts_down_is_not_waited_for() {
    let server = RedisServer::start();
    let a = Broker::ready("broker-a", &redis_at(server.port)).await;
    let mut b = Broker::ready("broker-b", &redis_at(server.port)).await;
    let revision = a.revoke(&agent(), stopped(1, 1)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap();
    assert_eq!(who.confirmed, names(&["broker-a", "broker-b"]));
    b.shut_down().await;
    let seen: Vec<String> = server.command(&["HKEYS", "hallpass:{revocation}:seen"]);
    assert_eq!(seen, ["broker-a"]);
    let revision = a.revoke(&agent(), lifted(2)).await;
    let who = a.revocation.confirmations(&revision, Duration::from_secs(2)).await.unwrap();
    assert_eq!((who.confirmed, who.pending), (names(&["broker-a"]), vec![]));
}

#[tokio::test]
async fn changes_lost_from_the_log_are_loaded_from_the_stops() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let a = Broker::ready("broker-a", &redis_at(server.port)).await;
    let b = Broker::ready("broker-b", &redis_at(proxy.port)).await;
    let mut second = 0;
    for forget in
        [&["XTRIM", "hallpass:{revocation}:log", "MAXLEN", "1"][..], &["DEL", "hallpass:{revocation}:log"]]
    {
        proxy.cut();
        second += 10;
        for target in levels().targets() {
            a.revoke(&target, stopped(1, second)).await;
        }
        server.command::<i64>(forget);
        let last = a.revoke(&Target::Issuer(others().issuer), stopped(2, second)).await;
        proxy.pass();
        let who = a.revocation.confirmations(&last, Duration::from_secs(5)).await.unwrap();
        assert_eq!(who.confirmed, names(&["broker-a", "broker-b"]), "{forget:?}");
        // Not by its own book, which is empty, nor by a question of its own.
        assert!(in_view(&b, &Target::Everything), "{forget:?}");
        for target in levels().targets() {
            a.revoke(&target, lifted(second + 1)).await;
        }
    }
    // And under a follower that stays connected.
    server.command::<i64>(&["DEL", "hallpass:{revocation}:log"]);
    let last = a.revoke(&agent(), stopped(3, 900)).await;
    let who = a.revocation.confirmations(&last, Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.pending, []);
    assert!(in_view(&b, &agent()));
}

/// The lineage is ahead of a log that has nothing more to tell.
#[tokio::test]
async fn a_change_that_the_log_never_told_is_loaded() {
    let server = RedisServer::start();
    let broker = Broker::ready("broker-a", &redis_at(server.port)).await;
    let stops = "hallpass:{revocation}:stops";
    let lineage: String = server.command(&["HGET", stops, "lineage"]);
    let (number, rest) = lineage.split_once(' ').unwrap();
    let next = number.parse::<u64>().unwrap() + 1;
    let mut change = redis::pipe();
    change.atomic().hset(stops, agent().to_string(), format!("{} {}", at(1).millis(), stop_id(1))).ignore();
    change.hset(stops, "lineage", format!("{next} {rest}")).ignore();
    change.set("hallpass:{revocation}:revision", next).ignore();
    change.exec(&mut server.client()).unwrap();
    eventually("the stop", || in_view(&broker, &agent())).await;
}

#[tokio::test]
async fn many_changes_at_once_arrive_without_a_gap() {
    let server = RedisServer::start();
    let a = Arc::new(Broker::ready("broker-a", &redis_at(server.port)).await);
    let b = Broker::ready("broker-b", &redis_at(server.port)).await;
    let writers: Vec<_> = (0..8u8)
        .map(|writer| {
            let a = a.clone();
            tokio::spawn(async move {
                for n in 0..150u8 {
                    let id = TokenId::new(at(i64::from(writer)), &[n; 10]);
                    a.revocation.apply(&Target::Token(id), stopped(n, 1)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let last = a.revoke(&Target::Everything, stopped(1, 1)).await;
    let who = a.revocation.confirmations(&last, Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.pending, []);
    for writer in 0..8 {
        for n in 0..150 {
            let id = TokenId::new(at(writer), &[n; 10]);
            let verdict = b.revocation.view(&Levels { tokens: vec![id], ..others() }).unwrap();
            assert_eq!(verdict.through, Some(START + 1));
        }
    }
}

/// Whether or not its view has heard of it: issuance asks what is so now.
#[tokio::test]
async fn a_stop_is_in_the_next_answer_of_every_broker() {
    let server = RedisServer::start();
    let a = Broker::ready("broker-a", &redis_at(server.port)).await;
    let b = Arc::new(Broker::ready("broker-b", &redis_at(server.port)).await);
    for round in 0..200 {
        let target = Target::Token(token(round));
        let covered = Levels { tokens: vec![token(round)], ..others() };
        a.revocation.apply(&target, stopped(1, 10)).await.unwrap();
        // Many ask at once, so that some go with the questions of others.
        let asking = (0..8).map(|_| {
            let (b, covered) = (Arc::clone(&b), covered.clone());
            tokio::spawn(async move { b.revocation.ask(&covered).await.unwrap() })
        });
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap().stopped, Some(target.clone()), "round {round}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_not_behind_with_the_view() {
    let server = RedisServer::start();
    let settings = RevocationSettings { max_staleness: Duration::from_secs(60), ..redis_at(server.port) };
    let a = Broker::ready("broker-a", &settings).await;
    let mut b = Broker::ready("broker-b", &settings).await;
    a.revocation.apply(&Target::Token(token(1)), stopped(1, 10)).await.unwrap();
    eventually("the view", || b.revocation.view(&levels()).unwrap().stopped.is_some()).await;
    // From here on it holds what it has followed so far.
    b.shut_down().await;
    a.revocation.apply(&Target::Token(token(3)), stopped(1, 10)).await.unwrap();
    assert_eq!(b.revocation.view(&others()).unwrap().stopped, None);
    assert_eq!(b.revocation.ask(&others()).await.unwrap().stopped, Some(Target::Token(token(3))));
}

/// One refills with what the store held before the stop, while the other stops.
#[tokio::test]
async fn a_refill_with_an_old_snapshot_races_a_stop() {
    let server = RedisServer::start();
    let settings = redis_at(server.port);
    let (a, b) = (connect("broker-a", &settings).await, connect("broker-b", &settings).await);
    let old = book(&[(agent(), lifted(5))]);
    for round in 0..30 {
        if round % 3 == 0 {
            server.command::<()>(&["FLUSHALL"]);
        }
        a.refill(&old).await.unwrap();
        let target = Target::Token(token(round));
        let covered = Levels { tokens: vec![token(round)], ..others() };
        let standing = stopped(1, 10);
        let stop = async { a.apply(&target, standing).await };
        let (stopping, filling) = tokio::join!(stop, b.refill(&old));
        filling.unwrap();
        stopping.unwrap();
        assert!(b.ask(&covered).await.unwrap().stopped.is_some(), "round {round}");
        assert!(a.ask(&covered).await.unwrap().stopped.is_some(), "round {round}");
    }
}

fn many(count: u32) -> StopBook {
    let mut book = book(&[(agent(), stopped(1, 1))]);
    for n in 0..count {
        let [a, b, c, d] = n.to_be_bytes();
        let id = TokenId::new(at(0), &[0, 0, 0, 0, 0, 0, a, b, c, d]);
        book.note(Target::Token(id), stopped(1, 1));
    }
    book
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_refill_keeps_nobody_waiting() {
    let server = RedisServer::start();
    let settings = redis_at(server.port);
    let (a, b) = (connect("broker-a", &settings).await, connect("broker-b", &settings).await);
    b.refill(&StopBook::default()).await.unwrap();
    let large = many(30_000);
    let filling = tokio::spawn(async move { a.refill(&large).await });
    let mut asked = 0;
    while !filling.is_finished() {
        b.ask(&others()).await.unwrap();
        asked += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    filling.await.unwrap().unwrap();
    assert!(asked > 10, "{asked}");
    let stats: String = server.command(&["INFO", "commandstats"]);
    let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    let scripts: u32 = scripts.split(',').next().unwrap().parse().unwrap();
    assert!(scripts >= 30_000 / 500, "{stats}");
    assert_eq!(b.ask(&levels()).await.unwrap().stopped, Some(agent()));
    // And a broker that comes later loads them all.
    let c = Broker::ready("broker-c", &settings).await;
    assert!(in_view(&c, &agent()));
}

#[tokio::test]
async fn a_flush_amid_a_refill_leaves_no_half_book_trusted() {
    let server = RedisServer::start();
    let revocation = connect("broker-a", &redis_at(server.port)).await;
    let other = connect("broker-b", &redis_at(server.port)).await;
    let durable = Arc::new(many(4_000));
    for delay in 0..12 {
        let (filler, filled) = (revocation.clone(), durable.clone());
        let filling = tokio::spawn(async move { filler.refill(&filled).await });
        tokio::time::sleep(Duration::from_millis(delay * 6)).await;
        server.command::<()>(&["FLUSHALL"]);
        // Begins an epoch into which the rest of the other's refill must not go.
        other.refill(&StopBook::default()).await.unwrap();
        let _ = filling.await.unwrap();
        while revocation.ask(&levels()).await == Err(RevocationError::Amnesia) {
            let _ = revocation.refill(&durable).await;
        }
        assert!(revocation.ask(&levels()).await.is_ok());
        let held: usize = server.command(&["HLEN", "hallpass:{revocation}:stops"]);
        assert_eq!(held, 4_000 + 1 + 1, "every stop, and the lineage");
    }
}
