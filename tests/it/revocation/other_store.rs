//! One Redis belongs to one store, and to one history of it.

use super::*;

const OTHER: &str = "log.other.test";

async fn of_origin(origin: &str, name: &str, server: &RedisServer, store: &Durable) -> Node {
    Node::of(connect_of(origin, name, &redis_at(server.port), clock()).await.unwrap(), store)
}

#[tokio::test]
async fn a_node_of_another_store_does_not_start() {
    let server = RedisServer::start();
    let store = Durable::default();
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    node.stop(&agent()).await;
    let refused = connect_of(OTHER, "broker-b", &redis_at(server.port), clock()).await.unwrap_err();
    let expected = RevocationError::OtherStore { theirs: ORIGIN.into(), ours: OTHER.into() };
    assert_eq!(refused, expected);
    let said = refused.to_string();
    for word in [
        "this Redis serves the store log.hallpass.test and not log.other.test",
        "give it a Redis or a database number of its own",
    ] {
        assert!(said.contains(word), "{said}");
    }
    // The database next to it is another.
    let mut beside = redis_at(server.port);
    let Backend::Redis(redis) = &mut beside.backend else { panic!() };
    redis.url.database = 1;
    let other = Node::of(connect_of(OTHER, "broker-b", &beside, clock()).await.unwrap(), &Durable::default());
    other.push().await.unwrap();
    assert!(!other.asked(&request()).await.unwrap().is_dead());
}

/// Both came while it was empty; the one that is first has it.
#[tokio::test]
async fn of_two_that_find_it_empty_one_is_refused() {
    let server = RedisServer::start();
    let first = of_origin(ORIGIN, "broker-a", &server, &Durable::default()).await;
    let second = of_origin(OTHER, "broker-b", &server, &Durable::default()).await;
    first.stop(&agent()).await;
    second.source.store.stop(&owner());
    let expected = RevocationError::OtherStore { theirs: ORIGIN.into(), ours: OTHER.into() };
    assert_eq!(second.push().await, Err(expected.clone()));
    assert_eq!(second.revocation.load().await.unwrap_err(), expected);
    assert!(second.revocation.ask(&request()).await.is_err());
    let second = second.follow();
    eventually("the words", || {
        second.revocation.status().to_string().contains("give it a Redis or a database number of its own")
    })
    .await;
    let mut fields: Vec<String> = server.command(&["HKEYS", STOPS]);
    fields.sort();
    assert_eq!(fields, [agent().to_string(), "state".to_owned()], "nothing of the second is there");
    assert!(first.asked(&request()).await.unwrap().stopped == Some(agent()));
}

#[tokio::test]
async fn one_that_another_store_takes_later_is_down() {
    let server = RedisServer::start();
    let store = Durable::default();
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    let alone = Node::alone("broker-b", &redis_at(server.port), &store).await;
    alone.push().await.unwrap();
    node.stop(&agent()).await;
    let state = format!("{OTHER} life.1 7 0 {} 0", "0".repeat(64));
    let mut take = redis::pipe();
    take.atomic().del(STOPS).ignore().hset(STOPS, "state", &state).ignore();
    take.exec(&mut server.client()).unwrap();
    let asked = alone.revocation.ask(&request()).await;
    assert!(matches!(asked, Err(RevocationError::OtherStore { .. })), "{asked:?}");
    eventually("a word about it", || matches!(node.revocation.status(), Status::Unusable(_))).await;
    eventually("the words", || node.revocation.status().to_string().contains(OTHER)).await;
    store.stop(&owner());
    assert!(matches!(node.push().await, Err(RevocationError::OtherStore { .. })));
    assert_eq!(server.command::<String>(&["HGET", STOPS, "state"]), state, "nothing is written into it");
    assert_eq!(server.command::<usize>(&["HLEN", STOPS]), 1);
    assert!(node.revocation.known().verdict(&request()).is_dead());
}

/// The store was restored from an older copy: Redis has what it lost.
#[tokio::test]
async fn a_store_that_lost_changes_is_told_so() {
    let server = RedisServer::start();
    let store = Durable::default();
    for n in 0..50 {
        store.stop(&Target::Token(token(n)));
    }
    let older = store.copy("restored");
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    for n in 50..99 {
        store.stop(&Target::Token(token(n)));
    }
    node.stop(&agent()).await;
    drop(node);

    let restored = Node::alone("broker-a", &redis_at(server.port), &older).await;
    let ahead = |ours| Err(RevocationError::Ahead { theirs: r(100), ours: r(ours) });
    assert_eq!(restored.push().await, ahead(50));
    // The same numbers, given to other changes.
    for n in 0..40 {
        older.stop(&Target::Token(token(1_000 + n)));
    }
    assert_eq!(restored.push().await, ahead(90));
    // As many, and more.
    for n in 40..80 {
        older.stop(&Target::Token(token(1_000 + n)));
    }
    assert_eq!(restored.push().await, ahead(130), "its hundredth change is another");
    let untouched = restored.revocation.load().await.unwrap();
    assert_eq!((untouched.revision(), untouched.get(&Target::Token(token(1_000)))), (r(100), None));
    assert!(restored.revocation.ask(&request()).await.is_err(), "until it is taken over");

    let restored = restored.follow();
    restored.wait_until_ready().await;
    assert!(older.revision() > r(130));
    assert_eq!(restored.asked(&request()).await.unwrap().stopped, Some(agent()));
    assert!(restored.asked(&of_token(60)).await.unwrap().is_dead());
    assert!(restored.asked(&of_token(1_000)).await.unwrap().is_dead());
    restored.lift(&agent()).await;
    assert!(restored.may_issue(&request()).await.unwrap());
    assert!(restored.asked(&since(r(100))).await.unwrap().overtaken);
}
