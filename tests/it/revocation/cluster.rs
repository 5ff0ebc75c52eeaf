//! Redis as a cluster of three: the slot of hallpass's keys moves, and its node dies.

use super::outage::Watch;
use super::*;
use crate::support::redis_cluster::RedisCluster;
use crate::support::sentinel::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slot_moves_and_its_node_dies_and_nobody_is_un_stopped() {
    let mut cluster = RedisCluster::start();
    let (store, holder) = (Durable::default(), cluster.holder());
    let other = (holder + 1) % 3;
    // Each knows one node, and that one does not hold the keys.
    let a = Arc::new(Node::ready("broker-a", &redis_of(&cluster.url_of(&[other])), &store).await);
    let b = Node::ready("broker-b", &redis_of(&cluster.url_of(&[(holder + 2) % 3, other])), &store).await;
    let both = (vec!["broker-a".to_owned(), "broker-b".to_owned()], vec![]);
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await, both);
    assert!(!b.may_issue(&request()).await.unwrap());
    let once = hallpass::domain::digest::Digest::of(b"once");
    assert_eq!(a.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(true));
    assert_eq!(b.revocation.use_once(&"a".parse().unwrap(), once, at(100)).await, Ok(false));

    let watch = Watch::over(&a);
    move_slot(&cluster, holder, other);
    for node in [&a, &b] {
        recovered(node).await;
        assert!(!node.may_issue(&request()).await.unwrap());
    }
    let change = b.stop(&owner()).await;
    assert_eq!(b.seen(&change, 5_000).await, both);
    move_slot(&cluster, other, holder);
    recovered(&b).await;
    let change = b.stop(&Target::Token(token(1))).await;
    assert_eq!(b.seen(&change, 5_000).await, both);

    // Its node dies, and the replica takes over.
    let began = Instant::now();
    cluster.nodes[holder].kill();
    wait("the replica to take over", || cluster.nodes[3].info("replication").contains("role:master"));
    for node in [&a, &b] {
        recovered(node).await;
        assert!(!node.may_issue(&request()).await.unwrap());
    }
    println!("cluster: used again {:?} after its node was killed", began.elapsed());
    let change = a.stop(&Target::Everything).await;
    assert_eq!(a.seen(&change, 5_000).await, both);
    // Nobody is left who could: the cluster says that it is down.
    cluster.nodes[3].kill();
    let is_told = || {
        let said = a.revocation.status().to_string();
        said.contains("no node of the cluster leads to hallpass's keys: ")
            && said.contains("the cluster has no primary for some slots")
    };
    let waiting = Instant::now();
    while !is_told() {
        assert!(waiting.elapsed() < Duration::from_secs(20), "{}", a.revocation.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(a.revocation.known().verdict(&request()).is_dead());
    cluster.nodes[3].restart();
    recovered(&a).await;
    watch.end().await;
}

/// As `redis-cli --cluster reshard` does it, with a pause between the steps.
fn move_slot(cluster: &RedisCluster, from: usize, to: usize) {
    let slot = cluster.slot.as_str();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    let ids = [source, target].map(RedisServer::cluster_id);
    target.command::<()>(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[0]]);
    source.command::<()>(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[1]]);
    let keys: Vec<String> = source.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
    assert!(keys.len() >= 3, "{keys:?}");
    for key in &keys {
        let port = target.port.to_string();
        let moved: redis::Value = source.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        drop(moved);
        std::thread::sleep(Duration::from_millis(100));
    }
    for node in [target, source] {
        node.command::<()>(&["CLUSTER", "SETSLOT", slot, "NODE", &ids[1]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_that_is_named_alone_is_told() {
    let cluster = RedisCluster::start();
    let other = &cluster.nodes[(cluster.holder() + 1) % 3];
    let node = Node::start("broker-a", &redis_at(other.port), &Durable::default()).await;
    eventually("what to write", || {
        let said = node.revocation.status().to_string();
        said.contains("write redis+cluster:// in revocation.url")
    })
    .await;
}
