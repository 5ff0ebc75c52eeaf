//! No clock decides anything about a stop.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

/// Hours, in milliseconds.
const HOUR: i64 = 3_600_000;

#[derive(Clone, Default)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn set(&self, hours: i64) {
        self.0.store(hours * HOUR, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let wall = self.clone();
        Clock::new(move || Timestamp::from_millis(START * 1_000 + wall.0.load(Ordering::SeqCst)))
    }
}

async fn node_with(wall: &Wall, name: &str, server: &RedisServer, store: &Durable) -> Node {
    let revocation = connect_of(ORIGIN, name, &redis_at(server.port), wall.clock()).await.unwrap();
    let node = Node::of(revocation, store).follow();
    node.wait_until_ready().await;
    node
}

#[tokio::test]
async fn nodes_hours_apart_agree_about_every_stop_and_lift() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (ahead, behind) = (Wall::default(), Wall::default());
    let a = node_with(&ahead, "broker-a", &server, &store).await;
    let b = node_with(&behind, "broker-b", &server, &store).await;
    for (round, hours) in [[3, -5], [-5, 3], [0, 0], [700_000, -400_000], [-3, 9]].into_iter().enumerate() {
        let before = store.revision();
        ahead.set(hours[0]);
        behind.set(hours[1]);
        // In turns, so that the one that stops is once ahead and once behind.
        let (stops, lifts) = if round % 2 == 0 { (&b, &a) } else { (&a, &b) };
        let stopped = stops.stop(&agent()).await;
        assert_eq!(stops.seen(&stopped, 5_000).await.1, Vec::<String>::new());
        for moved in [hours, [hours[1], hours[0]], [-hours[0], -hours[1]]] {
            ahead.set(moved[0]);
            behind.set(moved[1]);
            for node in [&a, &b] {
                assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(agent()), "{moved:?}");
                assert!(node.asked(&since(store.revision())).await.unwrap().is_dead(), "{moved:?}");
                assert!(in_view(node, &agent()), "{moved:?}");
            }
        }
        let lifted = lifts.lift(&agent()).await;
        assert_eq!(lifts.seen(&lifted, 5_000).await.1, Vec::<String>::new());
        for moved in [hours, [hours[1], hours[0]], [-hours[0], -hours[1]]] {
            ahead.set(moved[0]);
            behind.set(moved[1]);
            for node in [&a, &b] {
                assert!(node.may_issue(&request()).await.unwrap(), "{moved:?}");
                assert!(!node.asked(&since(store.revision())).await.unwrap().is_dead(), "{moved:?}");
                assert!(node.asked(&since(before)).await.unwrap().overtaken, "{moved:?}: dead stays dead");
                let view = node.revocation.view().unwrap();
                assert!(view.verdict(&since(before)).overtaken, "{moved:?}: dead stays dead");
            }
        }
    }
}

/// What is spent is forgotten by monotonic time, so a wall clock that runs away removes nothing.
#[tokio::test]
async fn a_clock_that_jumps_a_century_forgets_nothing() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let wall = Wall::default();
    let a = node_with(&wall, "broker-a", &server, &store).await;
    a.stop(&owner()).await;
    a.lift(&owner()).await;
    store.end(token(7));
    a.stop(&agent()).await;
    wall.set(900_000);
    // A refill, a new connection, a new process: each reads everything again.
    server.command::<()>(&["FLUSHALL"]);
    recovered(&a).await;
    server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
    recovered(&a).await;
    let b = node_with(&wall, "broker-b", &server, &store).await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    for node in [&a, &b] {
        assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(agent()));
        assert!(node.asked(&since(r(0))).await.unwrap().overtaken);
        let ended = Levels::of(token(7), store.revision(), another());
        assert!(node.asked(&ended).await.unwrap().overtaken);
    }
    assert_eq!(server.command::<usize>(&["HLEN", STOPS]), 3 + 1);
}
