//! Redis behind sentinels: a failover loses no stop, whatever writes it loses.

use super::outage::Watch;
use super::*;
use crate::support::redis::Options;
use crate::support::sentinel::{SERVICE, Watched};

fn has(server: &RedisServer, field: &str) -> bool {
    server.command(&["HEXISTS", STOPS, field])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_confirmed_stops_un_stops_nobody() {
    let redis = Watched::start();
    redis.wait_until_ready();
    let (store, settings) = (Durable::default(), redis_of(&redis.url()));
    let a = Arc::new(Node::ready("broker-a", &settings, &store).await);
    let mut b = Node::ready("broker-b", &settings, &store).await;
    let both = (vec!["broker-a".to_owned(), "broker-b".to_owned()], vec![]);
    let change = a.stop(&owner()).await;
    assert_eq!(a.seen(&change, 5_000).await, both);

    redis.stop_replication();
    // Both confirm, and the primary alone knows.
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await, both);
    let (_, lost) = b.stop_unnumbered(&Target::Agent(another().agent)).await;
    let who = b.revocation.confirmations(&lost.unwrap(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(who.pending, []);
    b.crash();
    let [primary, replica] = &redis.servers;
    let waiting = format!("unnumbered:{}", Target::Agent(another().agent));
    for field in [agent().to_string(), waiting.clone()] {
        assert!(has(primary, &field) && !has(replica, &field), "{field}");
    }

    let watch = Watch::over(&a);
    let mut redis = redis;
    let began = Instant::now();
    redis.servers[0].kill();
    redis.wait_for_failover();
    let promoted = began.elapsed();
    recovered(&a).await;
    println!("failover: promoted after {promoted:?}, used again after {:?}", began.elapsed());
    assert!(!a.may_issue(&request()).await.unwrap(), "by the store's stop");
    assert!(!a.may_issue(&others()).await.unwrap(), "by the stop that no store has");
    let replica = &redis.servers[1];
    eventually("what was lost", || has(replica, &agent().to_string()) && has(replica, &waiting)).await;
    let c = Node::ready("broker-c", &settings, &store).await;
    assert!(c.asked(&others()).await.unwrap().is_dead());
    let change = a.stop(&Target::Everything).await;
    let (confirmed, _) = a.seen(&change, 5_000).await;
    assert!(confirmed.contains(&"broker-c".to_owned()), "{confirmed:?}");
    watch.end().await;
}

/// The old primary answers again, as if nothing had happened: nobody goes back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hung_and_comes_back_is_not_believed() {
    let redis = Watched::start();
    redis.wait_until_ready();
    let (store, settings) = (Durable::default(), redis_of(&redis.url()));
    let a = Arc::new(Node::ready("broker-a", &settings, &store).await);
    let b = Node::ready("broker-b", &settings, &store).await;
    let watched = a.stop(&agent()).await;
    assert_eq!(a.seen(&watched, 5_000).await.1, Vec::<String>::new());
    let watch = Watch::over(&a);
    redis.servers[0].hang();
    redis.wait_for_failover();
    for node in [&a, &b] {
        recovered(node).await;
    }
    store.lift(&agent());
    a.push().await.unwrap();
    let change = a.stop(&agent()).await;
    assert!(has(&redis.servers[1], &agent().to_string()));
    redis.servers[0].go_on();
    let asked = async {
        for _ in 0..300 {
            assert!(!b.may_issue(&request()).await.unwrap_or(false));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    asked.await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
    let at: String = redis.servers[1].info("replication");
    assert!(at.contains("role:master"), "{at}");
    drop(watch);
}

/// One sentinel of three is enough to go on, and takes no longer than a connection may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_sentinels_are_told_and_cost_a_bounded_time() {
    let mut redis = Watched::start();
    let (store, settings) = (Durable::default(), redis_of(&redis.url()));
    redis.sentinels[0].hang();
    let started = Instant::now();
    let a = Node::ready("broker-a", &settings, &store).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    a.stop(&agent()).await;
    redis.sentinels[0].go_on();
    for sentinel in &mut redis.sentinels {
        sentinel.kill();
    }
    // Without a sentinel nobody knows of another primary, and this one is still used.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!a.may_issue(&request()).await.unwrap());
    let b = Node::start("broker-b", &settings, &store).await;
    let said = b.revocation.status().to_string();
    assert!(said.contains(&format!("no sentinel names the primary of {SERVICE}: ")), "{said}");
    for sentinel in &redis.sentinels {
        assert!(said.contains(&format!("sentinel 127.0.0.1:{}: ", sentinel.port)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_url_is_told_with_the_host() {
    let redis = Watched::start();
    let store = Durable::default();
    let [primary, replica] = [0, 1].map(|n| redis.servers[n].port);
    let sentinel = redis.sentinels[0].port;
    for (url, words) in [
        (
            format!("redis+sentinel://127.0.0.1:{sentinel}/elsewhere"),
            format!(
                "sentinel 127.0.0.1:{sentinel}: it watches nothing called elsewhere: revocation.url ends in the name"
            ),
        ),
        (
            format!("redis+sentinel://127.0.0.1:{primary}/{SERVICE}"),
            format!("sentinel 127.0.0.1:{primary}: it is no sentinel"),
        ),
        (format!("redis://127.0.0.1:{replica}"), "it is a replica: name the primary".to_owned()),
    ] {
        let node = Node::start("broker-a", &redis_of(&url), &store).await;
        let is_told = || node.revocation.status().to_string().contains(&words);
        let started = Instant::now();
        while !is_told() {
            assert!(started.elapsed() < Duration::from_secs(5), "{url}: {}", node.revocation.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_may_have_tls_and_redis_none() {
    let server = RedisServer::start();
    let monitor = format!("sentinel monitor {SERVICE} 127.0.0.1 {} 1\n", server.port);
    let options = Options { sentinel: true, tls: true, config: monitor, ..Options::default() };
    let sentinel = RedisServer::start_with(options);
    let url = format!("redis+sentinel://127.0.0.1:{}/{SERVICE}", sentinel.port);
    let mut redis = RedisSettings::new(url.parse().unwrap());
    let store = Durable::default();
    let node = Node::start("broker-a", &with(redis.clone()), &store).await;
    assert!(!node.revocation.usable());
    redis.ca_file = Some(sentinel.ca_file());
    redis.sentinel.tls = true;
    let node = Node::ready("broker-b", &with(redis), &store).await;
    node.stop(&agent()).await;
    assert!(!node.may_issue(&request()).await.unwrap());
}
