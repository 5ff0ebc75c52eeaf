//! What can tell nothing any more leaves Redis, and nothing else does.

use super::*;

const STOPS: &str = "hallpass:{revocation}:stops";
const LINEAGE: &str = "lineage";
/// Long ago by any clock: of the tests, of Redis.
const LONG_AGO: i64 = 1_600_000_000_000;

fn target(n: u32) -> Target {
    let [a, b, c, d] = n.to_be_bytes();
    Target::Token(TokenId::new(at(0), &[9, 0, 0, 0, 0, 0, a, b, c, d]))
}

fn written(standing: Standing) -> String {
    let stop = standing.stop.map_or_else(|| "-".to_owned(), |stop| stop.to_string());
    format!("{} {stop}", standing.at.millis())
}

/// As a broker wrote it at the time, past every broker of today.
fn put(server: &RedisServer, fields: &[(Target, String)]) {
    let mut pipe = redis::pipe();
    for (target, text) in fields {
        pipe.hset(STOPS, target.to_string(), text).ignore();
    }
    pipe.exec(&mut server.client()).unwrap();
}

fn fields(server: &RedisServer) -> Vec<String> {
    let mut fields: Vec<String> = server.command(&["HKEYS", STOPS]);
    fields.sort();
    fields
}

fn long_ago(n: u8) -> Standing {
    Standing { stop: Some(stop_id(n)), at: Timestamp::from_millis(LONG_AGO) }
}

#[tokio::test]
async fn the_spent_go_and_the_rest_stays() {
    let server = RedisServer::start();
    let settings = redis_at(server.port);
    let (a, b) = (Broker::ready("broker-a", &settings).await, Broker::ready("broker-b", &settings).await);
    let active = Target::Owner(levels().owner);
    let recent = Target::Token(levels().tokens[1]);
    a.revoke(&active, long_ago(1)).await;
    a.revoke(&recent, stopped(2, -3_600)).await;
    let lineage: String = server.command(&["HGET", STOPS, LINEAGE]);
    let revision: String = server.command(&["GET", "hallpass:{revocation}:revision"]);
    let log: usize = server.command(&["XLEN", "hallpass:{revocation}:log"]);

    let mut spent: Vec<_> = (0..1_200).map(|n| (target(n), written(long_ago(3)))).collect();
    spent.push((target(2_000), format!("{LONG_AGO} -")));
    spent.push((target(2_001), format!("0{LONG_AGO} -"))); // read, but not how it would be written
    put(&server, &spent);
    let lift = Target::Issuer(others().issuer);
    put(&server, &[(lift.clone(), format!("{LONG_AGO} -"))]);

    // Both load it, and then both remove it.
    server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let mut kept = vec![active.to_string(), recent.to_string(), lift.to_string(), LINEAGE.to_owned()];
    kept.sort();
    eventually("the pruning", || fields(&server).len() == kept.len()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fields(&server), kept);

    // Nobody takes it for a loss, or for a change.
    for broker in [&a, &b] {
        recovered(broker).await;
        let verdict = broker.revocation.ask(&levels()).await.unwrap();
        assert_eq!((verdict.stopped, verdict.through), (Some(active.clone()), Some(START - 3_600)));
        assert!(in_view(broker, &active));
        assert_eq!(broker.revocation.view(&levels()).unwrap().through, Some(START - 3_600));
    }
    assert_eq!(server.command::<String>(&["HGET", STOPS, LINEAGE]), lineage);
    assert_eq!(server.command::<String>(&["GET", "hallpass:{revocation}:revision"]), revision);
    assert_eq!(server.command::<usize>(&["XLEN", "hallpass:{revocation}:log"]), log);
    let stats: String = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains(&format!("cmdstat_hdel:calls={},", spent.len())), "each once: {stats}");
}

#[test]
fn what_changed_since_it_was_judged_stays() {
    let server = RedisServer::start();
    let judged = [written(long_ago(1)), format!("{LONG_AGO} -")];
    let now = [written(stopped(2, 5)), judged[1].clone()];
    put(&server, &[(target(0), now[0].clone()), (target(1), now[1].clone()), (target(2), now[1].clone())]);
    let script = include_str!("../../../src/revocation/redis/prune.lua");
    let targets = [target(0), target(1), target(7)].map(|target| target.to_string());
    let removed: u64 = server.command(&[
        "EVAL",
        script,
        "1",
        STOPS,
        &targets[0],
        &judged[0],
        &targets[1],
        &judged[1],
        &targets[2],
        &judged[1],
    ]);
    assert_eq!(removed, 1, "one changed, and one is gone already");
    let mut left = [target(0), target(2)].map(|target| target.to_string());
    left.sort();
    assert_eq!(fields(&server), left);
    assert_eq!(server.command::<String>(&["HGET", STOPS, &targets[0]]), now[0]);
}

/// A broker that was away since before a lift knows the stop alone; the lift must be there when it is back.
#[tokio::test]
async fn a_late_broker_does_not_undo_an_old_lift() {
    let server = RedisServer::start();
    let settings = redis_at(server.port);
    let a = Broker::ready("broker-a", &settings).await;
    let lift = Standing { stop: None, at: Timestamp::from_millis(LONG_AGO + 5) };
    put(&server, &[(agent(), written(lift)), (target(1), written(lift))]);
    server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("the pruning", || !fields(&server).contains(&target(1).to_string())).await;

    let late = Broker::start("broker-b", &settings).await;
    late.book.store(book(&[(agent(), long_ago(1))]).into());
    late.revocation.refill(&late.book.load()).await.unwrap();
    recovered(&a).await;
    assert_eq!(late.revocation.ask(&others()).await.unwrap().stopped, None);
    assert!(a.may_issue(&levels()).await.unwrap());
    assert_eq!(server.command::<String>(&["HGET", STOPS, &agent().to_string()]), written(lift));
}

#[tokio::test]
async fn what_cannot_be_read_is_not_removed() {
    let server = RedisServer::start();
    let broker = Broker::start("broker-a", &redis_at(server.port)).await;
    eventually("a view", || broker.revocation.view(&others()).is_ok()).await;
    // Between the load, which would find it, and the pruning, which comes a second later.
    let spent = target(1).to_string();
    let unreadable = Target::Token(levels().tokens[0]);
    put(&server, &[(target(1), written(long_ago(1))), (unreadable.clone(), "1 x".to_owned())]);
    let before = fields(&server);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(fields(&server), before);
    assert!(before.contains(&spent));
    // One that follows nothing asks about the targets themselves.
    let asking = connect("broker-b", &redis_at(server.port)).await;
    asking.refill(&StopBook::default()).await.unwrap();
    let asked = asking.ask(&levels()).await;
    assert!(matches!(asked, Err(RevocationError::Broken(_))), "{asked:?}");
}
