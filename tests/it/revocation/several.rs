//! Several nodes on one Redis: what one stops, the others see and confirm.

use super::*;
use crate::support::proxy::Proxy;

fn both() -> Vec<String> {
    vec!["broker-a".to_owned(), "broker-b".to_owned()]
}

fn only(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[tokio::test]
async fn a_stop_is_seen_and_confirmed_by_all() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    let a = Node::ready("broker-a", &settings, &store).await;
    let b = Node::ready("broker-b", &settings, &store).await;
    let c = Node::ready("broker-c", &settings, &store).await;
    for round in 0..20 {
        let before = store.revision();
        let change = if round % 2 == 0 { a.stop(&agent()).await } else { a.lift(&agent()).await };
        let (confirmed, pending) = a.seen(&change, 5_000).await;
        assert_eq!((confirmed.len(), pending), (3, vec![]), "round {round}");
        for node in [&b, &c] {
            let view = node.revocation.view().unwrap();
            assert_eq!(view.revision(), store.revision(), "confirmed means in the view");
            assert_eq!(view.verdict(&request()).is_dead(), round % 2 == 0);
            assert_eq!(view.get(&agent()), store.book().get(&agent()));
            assert!(round % 2 == 1 || view.verdict(&since(before)).is_dead());
        }
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_pending_until_it_is_back() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let b = Node::ready("broker-b", &redis_at(proxy.port), &store).await;
    let first = a.stop(&agent()).await;
    assert_eq!(a.seen(&first, 5_000).await, (both(), vec![]));
    proxy.black_hole();
    let change = a.stop(&Target::Everything).await;
    assert_eq!(a.seen(&change, 300).await, (only("broker-a"), only("broker-b")));
    assert!(!in_view(&b, &Target::Everything));
    proxy.pass();
    assert_eq!(a.seen(&change, 10_000).await, (both(), vec![]));
    assert!(in_view(&b, &Target::Everything));
}

/// A flush wipes the reports too; who hangs meanwhile must not be forgotten with them.
#[tokio::test]
async fn a_flush_does_not_hide_a_node_that_hangs() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let _b = Node::ready("broker-b", &redis_at(proxy.port), &store).await;
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
    proxy.black_hole();
    server.command::<()>(&["FLUSHALL"]);
    let change = a.stop(&Target::Everything).await;
    assert_eq!(a.seen(&change, 100).await, (only("broker-a"), only("broker-b")));
}

#[tokio::test]
async fn a_node_that_shuts_down_is_not_waited_for() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let mut b = Node::ready("broker-b", &redis_at(server.port), &store).await;
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await, (both(), vec![]));
    b.shut_down().await;
    let seen: Vec<String> = server.command(&["HKEYS", SEEN]);
    assert_eq!(seen, ["broker-a"]);
    let change = a.lift(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await, (only("broker-a"), vec![]));
    assert_eq!(a.revocation.unconfirmed().pending, []);
}

/// Nobody can tell their reports apart: that one has confirmed says nothing of the other.
#[tokio::test]
async fn two_of_one_name_are_not_taken_for_one() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let one = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let mut two = Node::ready("broker-a", &redis_at(proxy.port), &store).await;
    let namesake = || one.revocation.unconfirmed().pending == names(&["broker-a"]);
    eventually("the other's report", namesake).await;
    proxy.black_hole();
    let change = one.stop(&agent()).await;
    assert_eq!(one.seen(&change, 300).await, (only("broker-a"), only("broker-a")));
    // One that ends in good order is counted no more: a new process takes the place of an old one so.
    proxy.pass();
    recovered(&two).await;
    two.shut_down().await;
    eventually("its end", || !namesake()).await;
    let change = one.lift(&agent()).await;
    assert_eq!(one.seen(&change, 5_000).await, (only("broker-a"), vec![]));
}

#[tokio::test]
async fn changes_lost_from_the_log_are_loaded_from_the_stops() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let proxy = Proxy::to(server.port).await;
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let b = Node::ready("broker-b", &redis_at(proxy.port), &store).await;
    for forget in [&["XTRIM", LOG, "MAXLEN", "1"][..], &["DEL", LOG]] {
        proxy.cut();
        for target in targets() {
            a.stop(&target).await;
        }
        server.command::<i64>(forget);
        let last = a.stop(&Target::Issuer(another().issuer)).await;
        proxy.pass();
        assert_eq!(a.seen(&last, 10_000).await, (both(), vec![]), "{forget:?}");
        assert!(in_view(&b, &Target::Everything), "{forget:?}");
        for target in targets() {
            a.lift(&target).await;
        }
    }
    // And under a follower that stays connected.
    server.command::<i64>(&["DEL", LOG]);
    let last = a.stop(&agent()).await;
    assert_eq!(a.seen(&last, 10_000).await.1, Vec::<String>::new());
    assert!(in_view(&b, &agent()));
}

/// The state is ahead of a log that has nothing more to tell.
#[tokio::test]
async fn a_change_that_the_log_never_told_is_loaded() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let state: String = server.command(&["HGET", STOPS, "state"]);
    let mut parts: Vec<String> = state.split(' ').map(str::to_owned).collect();
    parts[2] = (parts[2].parse::<u64>().unwrap() + 1).to_string();
    let mut change = redis::pipe();
    // By a node whose store could not number it.
    change.atomic().hset(STOPS, format!("unnumbered:{}", agent()), node::new_id().to_string()).ignore();
    change.hset(STOPS, "state", parts.join(" ")).ignore();
    change.exec(&mut server.client()).unwrap();
    eventually("the stop", || in_view(&node, &agent())).await;
}

/// Each change must be in the other's view, whatever of the log was coalesced on the way. The bound is a count of rounds
/// and not an instant: a busy machine only takes longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_at_once_arrive_without_a_gap() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = RevocationSettings { max_staleness: Duration::from_secs(60), ..redis_at(server.port) };
    let a = Arc::new(Node::ready("broker-a", &settings, &store).await);
    let b = Node::ready("broker-b", &settings, &store).await;
    // The log must bring them: b's own store never tells it of one.
    let writers: Vec<_> = (0..8u32)
        .map(|writer| {
            let a = Arc::clone(&a);
            tokio::spawn(async move {
                for n in 0..150 {
                    a.source.store.stop(&Target::Token(token(1_000 * writer + n)));
                    // A push that did not get an answer in time is made again, as the follower does.
                    while a.push().await.is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    a.source.store.stop(&Target::Everything);
    let started = Instant::now();
    let last = loop {
        match a.push().await {
            Ok(last) => break last,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(30), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    while !a
        .revocation
        .confirmations(&last, Duration::from_secs(5))
        .await
        .is_ok_and(|who| who.pending.is_empty())
    {
        assert!(started.elapsed() < Duration::from_secs(60), "the last change was not confirmed");
    }
    let view = b.revocation.view().unwrap();
    for (writer, n) in (0..8).flat_map(|writer| (0..150).map(move |n| (writer, n))) {
        assert!(view.get(&Target::Token(token(1_000 * writer + n))).is_some(), "{writer} {n}");
    }
    let held: usize = server.command(&["HLEN", STOPS]);
    assert_eq!(held, 8 * 150 + 1 + 1, "every stop, `everything` and the state");
}

/// Whether or not its view has heard of it: issuance asks what is so now.
#[tokio::test]
async fn a_stop_is_in_the_next_answer_of_every_node() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let b = Arc::new(Node::ready("broker-b", &redis_at(server.port), &store).await);
    for round in 0..200 {
        let target = Target::Token(token(round));
        a.stop(&target).await;
        // Many ask at once, so that some go with the questions of others.
        let asking = (0..8).map(|_| {
            let b = Arc::clone(&b);
            tokio::spawn(async move { b.asked(&of_token(round)).await.unwrap() })
        });
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap().stopped, Some(target.clone()), "round {round}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_not_behind_with_the_view() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = RevocationSettings { max_staleness: Duration::from_secs(60), ..redis_at(server.port) };
    let a = Node::ready("broker-a", &settings, &store).await;
    let mut b = Node::ready("broker-b", &settings, &store).await;
    a.stop(&agent()).await;
    eventually("the view", || in_view(&b, &agent())).await;
    // From here on it holds what it has followed so far.
    b.shut_down().await;
    let target = Target::Agent(another().agent);
    a.stop(&target).await;
    assert!(!b.revocation.view().unwrap().verdict(&others()).is_dead());
    assert_eq!(b.asked(&others()).await.unwrap().stopped, Some(target));
}

/// One pushes what the store held before the stop, while the other stops.
#[tokio::test]
async fn a_push_of_what_was_races_a_stop() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    store.stop(&owner());
    let a = Node::alone("broker-a", &settings, &store).await;
    let b = Node::alone("broker-b", &settings, &store).await;
    for round in 0..30 {
        if round % 3 == 0 {
            server.command::<()>(&["FLUSHALL"]);
        }
        let target = Target::Token(token(round));
        let (stopping, filling) = tokio::join!(a.stop(&target), b.push());
        assert_eq!(stopping.revision, Some(store.revision()));
        filling.unwrap();
        for node in [&a, &b] {
            let asked = node.asked(&of_token(round)).await.unwrap();
            assert_eq!(asked.stopped, Some(target.clone()), "round {round}");
            assert_eq!(asked.as_of, store.revision());
        }
    }
}

/// Many write at once; the authority's revision never says more than it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_of_several_nodes_leave_no_hole() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    let mut nodes = Vec::new();
    for name in ["broker-a", "broker-b", "broker-c"] {
        nodes.push(Arc::new(Node::alone(name, &settings, &store).await));
    }
    let pushing: Vec<_> = (0u32..)
        .zip(&nodes)
        .map(|(n, node)| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                for turn in 0..60 {
                    node.source.store.stop(&Target::Token(token(1_000 * n + turn)));
                    while node.push().await.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    let asking = nodes[0].clone();
    while !pushing.iter().all(|one| one.is_finished()) {
        let before = store.book();
        let Ok(held) = asking.revocation.load().await else { continue };
        let mut missing = Vec::new();
        for (target, one) in before.standings().filter(|(_, one)| one.changed <= held.revision()) {
            if held.get(target) != Some(one) {
                missing.push(target.clone());
            }
        }
        assert!(missing.is_empty(), "{:?} is said, without {missing:?}", held.revision());
    }
    for one in pushing {
        one.await.unwrap();
    }
    assert_eq!(nodes[0].revocation.load().await.unwrap().revision(), store.revision());
}

fn many(store: &Durable, count: u32) {
    store.stop(&agent());
    for n in 0..count {
        store.stop(&Target::Token(token(n)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_refill_keeps_nobody_waiting() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    let b = Node::alone("broker-b", &settings, &store).await;
    b.push().await.unwrap();
    many(&store, 30_000);
    let a = Node::alone("broker-a", &settings, &store).await;
    let filling = tokio::spawn(async move { a.push().await.map(drop) });
    let mut asked = 0;
    while !filling.is_finished() {
        b.revocation.ask(&others()).await.unwrap();
        asked += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    filling.await.unwrap().unwrap();
    assert!(asked > 10, "{asked}");
    let stats: String = server.command(&["INFO", "commandstats"]);
    let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    let scripts: u32 = scripts.split(',').next().unwrap().parse().unwrap();
    assert!(scripts >= 30_000 / 500, "{stats}");
    assert_eq!(b.asked(&request()).await.unwrap().stopped, Some(agent()));
    // And a node that comes later loads them all.
    let c = Node::ready("broker-c", &settings, &store).await;
    assert!(in_view(&c, &agent()));
}

#[tokio::test]
async fn a_flush_amid_a_refill_leaves_no_half_book_trusted() {
    let (server, store) = (RedisServer::start(), Durable::default());
    many(&store, 4_000);
    let node = Arc::new(Node::alone("broker-a", &redis_at(server.port), &store).await);
    // It has the history, and knows nothing of these stops.
    let other = Node::alone("broker-b", &redis_at(server.port), &store).await;
    for delay in 0..12 {
        let filler = Arc::clone(&node);
        let filling = tokio::spawn(async move { filler.push().await.map(drop) });
        tokio::time::sleep(Duration::from_millis(delay * 6)).await;
        server.command::<()>(&["FLUSHALL"]);
        // Begins a life into which the rest of the other's push must not go.
        let _ = other.push().await;
        let _ = filling.await.unwrap();
        assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(agent()));
        let held: usize = server.command(&["HLEN", STOPS]);
        assert_eq!(held, 4_000 + 1 + 1, "every stop, and the state");
    }
}
