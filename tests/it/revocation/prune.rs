//! What can tell nothing any more leaves Redis, and nothing else does.

use super::*;

fn fields(server: &RedisServer) -> Vec<String> {
    let mut fields: Vec<String> = server.command(&["HKEYS", STOPS]);
    fields.sort();
    fields
}

fn cut_all(server: &RedisServer) {
    server.command::<redis::Value>(&["CLIENT", "KILL", "TYPE", "normal"]);
}

#[tokio::test]
async fn the_spent_go_and_the_rest_stays() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    let (a, b) =
        (Node::ready("broker-a", &settings, &store).await, Node::ready("broker-b", &settings, &store).await);
    for n in 100..1_300 {
        store.end(token(n));
    }
    store.stop(&Target::Token(token(2_000)));
    store.stop(&owner());
    let lifted = Target::Agent(another().agent);
    store.stop(&lifted);
    store.lift(&lifted);
    let floor = store.revision();
    let recent = store.end(token(1));
    a.push().await.unwrap();
    assert_eq!(fields(&server).len(), 1_200 + 5);

    // A floor that rises without any change is told, too.
    store.raise_floor(floor);
    let state = || server.command::<String>(&["HGET", STOPS, "state"]);
    eventually("the floor", || state().ends_with(&format!(" {floor}"))).await;
    let (told, log): (String, usize) = (state(), server.command(&["XLEN", LOG]));

    // Both load it, and then both remove it.
    cut_all(&server);
    let mut kept = vec![owner().to_string(), Target::Token(token(1)).to_string(), "state".to_owned()];
    kept.sort();
    eventually("the pruning", || fields(&server).len() <= kept.len()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fields(&server), kept);

    // Nobody takes it for a loss, or for a change, and whatever was removed is dead still.
    for node in [&a, &b] {
        recovered(node).await;
        assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(owner()));
        assert!(in_view(node, &owner()));
        assert!(node.asked(&of_token(100)).await.unwrap().overtaken, "older than the floor");
        assert!(node.revocation.view().unwrap().verdict(&of_token(100)).overtaken);
    }
    let c = Node::alone("broker-c", &settings, &store).await;
    assert!(c.asked(&of_token(100)).await.unwrap().overtaken, "one that knows nothing asks the floor");
    let ended = Levels::of(token(1), recent, another());
    assert!(c.asked(&ended).await.unwrap().overtaken);
    assert_eq!(state(), told);
    assert_eq!(server.command::<usize>(&["XLEN", LOG]), log);
    let stats: String = server.command(&["INFO", "commandstats"]);
    let removed = stats.split_once("cmdstat_hdel:calls=").and_then(|(_, calls)| calls.split_once(','));
    let removed: u32 = removed.unwrap().0.parse().unwrap();
    // And one for each new connection, which asks whether it may.
    assert!((1202..1230).contains(&removed), "each once: {stats}");
}

#[test]
fn what_changed_since_it_was_judged_stays() {
    let server = RedisServer::start();
    let targets = [0, 1, 7].map(|n| Target::Token(token(n)).to_string());
    let id = node::new_id();
    let judged = [format!("2 2 {id}"), "3 3 -".to_owned()];
    let now = [format!("9 9 {id}"), judged[1].clone()];
    for (target, text) in targets.iter().zip(&now) {
        server.command::<i64>(&["HSET", STOPS, target, text]);
    }
    let script = include_str!("../../../src/revocation/redis/prune.lua");
    let [changed, same, gone] = &targets;
    let mut words = vec!["EVAL", script, "1", STOPS];
    for (target, text) in [(changed, &judged[0]), (same, &judged[1]), (gone, &judged[1])] {
        words.extend([target.as_str(), text.as_str()]);
    }
    assert_eq!(server.command::<u64>(&words), 1, "one changed, and one is gone already");
    assert_eq!(fields(&server), std::slice::from_ref(changed));
    assert_eq!(server.command::<String>(&["HGET", STOPS, changed]), now[0]);
}

/// A node that was away since before a lift knows the stop alone, from what it held in memory.
#[tokio::test]
async fn a_late_node_does_not_undo_an_old_lift() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let settings = redis_at(server.port);
    let a = Node::ready("broker-a", &settings, &store).await;
    let late = Node::ready("broker-b", &settings, &store).await;
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
    let mut late = late;
    late.shut_down().await;
    a.lift(&agent()).await;
    store.raise_floor(store.revision());
    a.stop(&owner()).await;
    a.lift(&owner()).await;
    cut_all(&server);
    eventually("the pruning", || !fields(&server).contains(&agent().to_string())).await;

    recovered(&a).await;
    let late = late.follow();
    late.wait_until_ready().await;
    for node in [&a, &late] {
        assert!(!node.asked(&request()).await.unwrap().is_dead());
        assert!(node.may_issue(&request()).await.unwrap());
        assert_eq!(node.asked(&since(r(1))).await.unwrap().stopped, None);
        assert!(node.asked(&since(r(0))).await.unwrap().overtaken);
    }
}

/// Redis is away for hours: the store forgets a stop and its lift, of which the view had heard the first alone.
#[tokio::test]
async fn a_stop_that_was_lifted_while_redis_was_away_stays_lifted() {
    let (mut server, store) = (RedisServer::start(), Durable::default());
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let b = Node::ready("broker-b", &redis_at(server.port), &store).await;
    let change = a.stop(&agent()).await;
    assert_eq!(a.seen(&change, 5_000).await.1, Vec::<String>::new());
    server.kill();
    store.lift(&agent());
    assert!(a.push().await.is_err());
    let refuses = |node: &Node| Verdict::of(&request(), &[&node.revocation.known(), &store.book()]).is_dead();
    eventually("the lift at the other", || !node_knows_the_stop(&b)).await;
    store.raise_floor(store.revision());
    assert!(store.book().get(&agent()).is_none(), "it is forgotten");
    assert!(!refuses(&a) && !refuses(&b));
}

/// The same, and Redis comes back with what it held before.
#[tokio::test]
async fn a_redis_that_was_away_for_hours_learns_of_the_lift() {
    let options = crate::support::redis::Options { append_only: true, ..Default::default() };
    let (mut server, store) = (RedisServer::start_with(options), Durable::default());
    let a = Node::ready("broker-a", &redis_at(server.port), &store).await;
    for n in 0..5 {
        store.stop(&Target::Token(token(n)));
    }
    let kept = store.stop(&owner());
    a.stop(&agent()).await;
    server.kill();
    store.lift(&agent());
    store.raise_floor(store.revision());
    assert!(a.push().await.is_err());
    server.restart();
    let held: Option<String> = server.command(&["HGET", STOPS, &agent().to_string()]);
    assert!(held.is_some_and(|held| !held.ends_with('-')), "it comes back with the stop in force");
    recovered(&a).await;
    let b = Node::alone("broker-b", &redis_at(server.port), &store).await;
    for node in [&a, &b] {
        let live = node.ask(&request()).await.unwrap();
        assert!(live.get(&agent()).is_none_or(|standing| standing.stop.is_none()), "it was lifted");
        assert_eq!(live.verdict(&request()).stopped, Some(owner()), "and this was not");
        assert!(live.verdict(&since(kept)).is_dead());
    }
    a.lift(&owner()).await;
    assert!(a.may_issue(&request()).await.unwrap());
    assert!(b.may_issue(&request()).await.unwrap());
}

fn node_knows_the_stop(node: &Node) -> bool {
    node.revocation.known().get(&agent()).is_some_and(|standing| standing.stop.is_some())
}

#[tokio::test]
async fn what_cannot_be_read_is_not_removed() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::start("broker-a", &redis_at(server.port), &store).await;
    eventually("a view", || node.revocation.view().is_ok()).await;
    store.end(token(50));
    store.raise_floor(store.revision());
    store.stop(&owner());
    node.push().await.unwrap();
    // Between the load, which would find it, and the pruning, which comes a second later.
    let unreadable = Target::Token(token(1)).to_string();
    server.command::<i64>(&["HSET", STOPS, &unreadable, "1 x"]);
    let before = fields(&server);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let after = fields(&server);
    assert!(before.contains(&unreadable) && after.contains(&unreadable));
    // One that follows nothing asks about the targets themselves.
    let asking = Node::alone("broker-b", &redis_at(server.port), &store).await;
    asking.push().await.unwrap();
    let asked = asking.revocation.ask(&since(r(0))).await;
    assert!(matches!(asked, Err(RevocationError::Broken(_))), "{asked:?}");
    assert!(asking.asked(&others()).await.is_ok());
}
