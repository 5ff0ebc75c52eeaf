//! Stops that the store cannot number yet: they cover every token, and neither Redis nor a dead node loses them.

use super::*;

fn field() -> String {
    format!("unnumbered:{}", agent())
}

fn held(server: &RedisServer) -> Option<String> {
    server.command(&["HGET", STOPS, &field()])
}

async fn pair(server: &RedisServer, store: &Durable) -> (Node, Node) {
    let settings = redis_at(server.port);
    (Node::ready("broker-a", &settings, store).await, Node::ready("broker-b", &settings, store).await)
}

/// Whether every token of the agent is dead at `node`, the one that would be decided now as well.
async fn covers(node: &Node, store: &Durable) -> bool {
    let now = since(store.revision());
    !node.may_issue(&request()).await.unwrap()
        && node.revocation.view().unwrap().verdict(&now).is_dead()
        && node.asked(&now).await.unwrap().is_dead()
}

#[tokio::test]
async fn one_covers_every_token_on_every_node_and_is_confirmed() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    store.stop(&agent());
    store.lift(&agent());
    a.push().await.unwrap();
    a.fill_disk(true);
    let (_, stopped) = a.stop_unnumbered(&agent()).await;
    let (confirmed, pending) = a.seen(&stopped.unwrap(), 5_000).await;
    assert_eq!((confirmed.len(), pending), (2, vec![]));
    for node in [&a, &b] {
        assert!(covers(node, &store).await);
    }
    assert!(b.may_issue(&others()).await.unwrap());
}

#[tokio::test]
async fn one_whose_node_is_dead_survives_a_flush() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (mut a, b) = pair(&server, &store).await;
    let (id, stopped) = a.stop_unnumbered(&agent()).await;
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    a.crash();
    for _ in 0..3 {
        server.command::<()>(&["FLUSHALL"]);
        // In no answer of the others it is missing, not even while Redis is empty.
        assert!(!b.may_issue(&request()).await.unwrap());
        eventually("the stop in Redis", || held(&server) == Some(id.to_string())).await;
    }
    let c = Node::alone("broker-c", &redis_at(server.port), &store).await;
    assert!(c.asked(&since(store.revision())).await.unwrap().is_dead());
}

/// A snapshot from before the stop comes back: the same life, fewer writes.
#[tokio::test]
async fn one_whose_node_is_dead_survives_a_redis_that_fell_back() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (mut a, b) = pair(&server, &store).await;
    let earlier: String = server.command(&["HGET", STOPS, "state"]);
    let (id, stopped) = a.stop_unnumbered(&agent()).await;
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    a.crash();
    let mut fall_back = redis::pipe();
    fall_back.atomic().hdel(STOPS, field()).ignore().hset(STOPS, "state", &earlier).ignore();
    fall_back.exec(&mut server.client()).unwrap();
    eventually("the stop in Redis", || held(&server) == Some(id.to_string())).await;
    assert!(covers(&b, &store).await);
}

#[tokio::test]
async fn one_that_gets_its_number_is_a_stop_like_any_other() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    let before = store.revision();
    let (id, _) = a.stop_unnumbered(&agent()).await;
    assert_eq!(held(&server), Some(id.to_string()));
    a.number_waiting();
    let pushed = a.push().await.unwrap();
    assert_eq!(held(&server), None);
    assert_eq!(a.seen(&pushed, 5_000).await.1, Vec::<String>::new());
    for node in [&a, &b] {
        assert!(covers(node, &store).await);
    }
    let lifted = a.lift(&agent()).await;
    assert_eq!(a.seen(&lifted, 5_000).await.1, Vec::<String>::new());
    for node in [&a, &b] {
        eventually("the lift", || !node.revocation.view().unwrap().verdict(&request()).is_dead()).await;
        assert!(node.may_issue(&request()).await.unwrap());
        assert!(node.asked(&since(before)).await.unwrap().overtaken, "it was stopped since");
    }
}

/// The node that refills an empty Redis knows the stop from before it was numbered.
#[tokio::test]
async fn one_that_was_numbered_while_redis_was_away_does_not_stay() {
    let (mut server, store) = (RedisServer::start(), Durable::default());
    let (mut a, b) = pair(&server, &store).await;
    let (_, stopped) = a.stop_unnumbered(&agent()).await;
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    server.kill();
    // The process ends before it could tell Redis the number.
    a.number_waiting();
    a.crash();
    server.restart();
    recovered(&b).await;
    assert!(!b.may_issue(&request()).await.unwrap(), "it has a number, and is in force");
    b.lift(&agent()).await;
    eventually("the end of it in Redis", || held(&server).is_none()).await;
    eventually("the end of it", || !b.revocation.known().verdict(&request()).is_dead()).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(held(&server), None, "and nobody gives it again");
    assert!(b.may_issue(&request()).await.unwrap());
}

/// The store comes back in the moment in which Redis goes: what has its number there is judged by it alone.
#[tokio::test]
async fn one_that_is_lifted_while_redis_is_away_is_over_everywhere() {
    let (mut server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    let (_, stopped) = a.stop_unnumbered(&agent()).await;
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    server.kill();
    a.number_waiting();
    assert!(a.push().await.is_err());
    let dead = |node: &Node| Verdict::of(&request(), &[&node.revocation.known(), &store.book()]).is_dead();
    assert!(dead(&a) && dead(&b));
    store.lift(&agent());
    assert!(a.push().await.is_err());
    assert!(!dead(&a), "the lift holds here at once");
    eventually("the lift at the other", || !dead(&b)).await;
    server.restart();
    for node in [&a, &b] {
        recovered(node).await;
        assert!(node.may_issue(&request()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(held(&server), None);
}

/// While the store is down nobody can tell whether it has a number.
#[tokio::test]
async fn one_that_nobody_can_look_up_stays() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (mut a, b) = pair(&server, &store).await;
    let (id, stopped) = a.stop_unnumbered(&agent()).await;
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    a.crash();
    b.fill_disk(true);
    a.number_waiting();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(held(&server), Some(id.to_string()));
    assert!(b.revocation.usable(), "it follows all the same");
    b.fill_disk(false);
    eventually("the end of it in Redis", || held(&server).is_none()).await;
    assert!(!b.may_issue(&request()).await.unwrap(), "it has its number now");
}

#[tokio::test]
async fn two_of_one_target_do_not_chase_each_other() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    for node in [&a, &a, &b, &b] {
        node.stop_unnumbered(&agent()).await.1.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let log: usize = server.command(&["XLEN", LOG]);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(server.command::<usize>(&["XLEN", LOG]), log, "nothing changes, and nothing is written");

    // Those of the first get their numbers, and the second still waits with its own.
    a.number_waiting();
    a.push().await.unwrap();
    a.lift(&agent()).await;
    eventually("the other's", || held(&server).is_some()).await;
    assert!(covers(&a, &store).await);
    b.number_waiting();
    b.push().await.unwrap();
    assert_eq!(held(&server), None);
    b.lift(&agent()).await;
    eventually("the end", || !a.revocation.view().unwrap().verdict(&request()).is_dead()).await;
    assert!(a.may_issue(&request()).await.unwrap());
}

/// They have to go in parts, and each has to be removed again.
#[tokio::test]
async fn hundreds_come_and_go() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    server.command::<()>(&["FLUSHALL"]);
    let mut last = None;
    for n in 0..700 {
        last = Some(a.stop_unnumbered(&Target::Token(token(n))).await.1);
    }
    assert!(last.unwrap().is_ok());
    eventually("all", || b.revocation.known().unnumbered().count() == 700).await;
    server.command::<()>(&["FLUSHALL"]);
    eventually("all again", || server.command::<usize>(&["HLEN", STOPS]) == 700 + 1).await;
    a.number_waiting();
    a.push().await.unwrap();
    eventually("none", || b.revocation.known().unnumbered().count() == 0).await;
    let fields: Vec<String> = server.command(&["HKEYS", STOPS]);
    assert!(fields.iter().all(|field| !field.starts_with("unnumbered:")));
    assert_eq!(fields.len(), 700 + 1);
}

/// As many as wait go over once, so that the last of them waits for none of the others.
#[tokio::test]
async fn hundreds_that_wait_do_not_hold_up_the_next() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let (a, b) = pair(&server, &store).await;
    let ends = (0..500).map(|n| {
        let (a, target) = (&a, Target::Token(token(n)));
        async move { a.stop_unnumbered(&target).await.1.map(drop) }
    });
    let stop = async {
        let begun = Instant::now();
        let (_, stopped) = a.stop_unnumbered(&agent()).await;
        (stopped, begun.elapsed())
    };
    let (ended, (stopped, took)) = tokio::join!(futures_util::future::join_all(ends), stop);
    assert!(ended.iter().all(Result::is_ok));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(a.seen(&stopped.unwrap(), 5_000).await.1, Vec::<String>::new());
    assert!(covers(&b, &store).await);

    // One more is one write of one item.
    let (begun, log) = (Instant::now(), server.command::<usize>(&["XLEN", LOG]));
    a.stop_unnumbered(&Target::Agent(another().agent)).await.1.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(server.command::<usize>(&["XLEN", LOG]), log + 1);
    server.command::<()>(&["FLUSHALL"]);
    eventually("all again", || server.command::<usize>(&["HLEN", STOPS]) == 502 + 1).await;
}
