//! What holds of every variant.

use hallpass::domain::digest::Digest;
use hallpass::revocation::Stale;

use super::*;

struct Subject {
    settings: RevocationSettings,
    store: Durable,
    server: Option<RedisServer>,
}

impl Subject {
    fn memory() -> Self {
        Self { settings: settings(Backend::Memory), store: Durable::default(), server: None }
    }

    fn redis() -> Self {
        let server = RedisServer::start();
        Self { settings: redis_at(server.port), store: Durable::default(), server: Some(server) }
    }

    async fn node(&self) -> Node {
        let node = Node::alone("broker-a", &self.settings, &self.store).await;
        node.push().await.unwrap();
        node
    }

    /// By the authority alone: Redis, or the store itself.
    async fn says(&self, node: &Node, levels: &Levels) -> Verdict {
        let live = node.ask(levels).await.unwrap();
        if self.server.is_some() {
            return live.verdict(levels);
        }
        Verdict::of(levels, &[&live, &self.store.book()])
    }
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Subject::memory()).await })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Subject::redis()).await })*
        }
    };
}

contract! {
    every_kind_of_target_stops_what_it_covers_and_is_lifted
    a_lift_never_resurrects
    a_token_ends_for_good
    an_assertion_is_used_once
    this_node_confirms_its_own_change
    a_push_names_the_change
    the_levels_of_many_ancestors_are_one_question
}

async fn every_kind_of_target_stops_what_it_covers_and_is_lifted(subject: Subject) {
    let node = subject.node().await;
    for target in targets() {
        let before = subject.store.revision();
        node.stop(&target).await;
        let now = subject.store.revision();
        for levels in [since(before), since(now)] {
            let verdict = subject.says(&node, &levels).await;
            assert_eq!(verdict.stopped, Some(target.clone()), "a stop covers every token, the next too");
            assert_eq!(verdict.as_of, now);
        }
        let untouched = subject.says(&node, &others()).await;
        assert_eq!(untouched.stopped.is_some(), target == Target::Everything, "{target}");

        node.lift(&target).await;
        assert!(subject.says(&node, &since(before)).await.overtaken, "{target}");
        let between = subject.says(&node, &since(now)).await;
        assert!(!between.is_dead(), "{target}: decided at the stop is not decided before it: {between:?}");
        assert!(!subject.says(&node, &since(subject.store.revision())).await.is_dead(), "{target}");
        assert!(!subject.says(&node, &request()).await.is_dead(), "nobody waits after a lift");
    }
}

async fn a_lift_never_resurrects(subject: Subject) {
    let node = subject.node().await;
    let mut decided = vec![subject.store.revision()];
    for _ in 0..3 {
        node.stop(&agent()).await;
        node.lift(&agent()).await;
        for before in &decided {
            assert!(subject.says(&node, &since(*before)).await.overtaken, "{before}");
        }
        decided.push(subject.store.revision());
        assert!(!subject.says(&node, &since(subject.store.revision())).await.is_dead());
    }
}

async fn a_token_ends_for_good(subject: Subject) {
    let node = subject.node().await;
    subject.store.end(token(1));
    node.push().await.unwrap();
    let verdict = subject.says(&node, &since(Revision::ZERO)).await;
    assert_eq!((verdict.stopped, verdict.overtaken), (None, true), "and what was handed down from it");
    assert!(subject.says(&node, &since(subject.store.revision())).await.overtaken, "whenever it was decided");
    assert!(!subject.says(&node, &request()).await.is_dead());
    assert!(!subject.says(&node, &of_token(9)).await.is_dead());
}

async fn an_assertion_is_used_once(subject: Subject) {
    let revocation = subject.node().await.revocation.clone();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), one, at(100)).await, Ok(true));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), one, at(100)).await, Ok(false));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), two, at(1)).await, Ok(true));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), one, at(300)).await, Ok(false));
    let over = Digest::of(b"over");
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), over, at(0)).await, Ok(false), "its time is over");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(
        revocation.use_once(&"a".parse().unwrap(), two, at(100)).await,
        Ok(true),
        "forgotten when it expired"
    );
    let racing: Vec<_> = (0..20)
        .map(|_| {
            let revocation = revocation.clone();
            tokio::spawn(async move {
                revocation.use_once(&"a".parse().unwrap(), Digest::of(b"race"), at(100)).await.unwrap()
            })
        })
        .collect();
    let mut first = 0;
    for one in racing {
        first += usize::from(one.await.unwrap());
    }
    assert_eq!(first, 1);
}

async fn this_node_confirms_its_own_change(subject: Subject) {
    let node = subject.node().await;
    let change = node.stop(&agent()).await;
    let who = node.revocation.confirmations(&change, Duration::ZERO).await.unwrap();
    assert_eq!((who.confirmed, who.pending), (names(&["broker-a"]), vec![]));
    assert_eq!(node.revocation.unconfirmed().confirmed, names(&["broker-a"]));
}

async fn a_push_names_the_change(subject: Subject) {
    let node = subject.node().await;
    for number in 1..5 {
        assert_eq!(node.stop(&agent()).await.revision, Some(r(number)));
    }
}

async fn the_levels_of_many_ancestors_are_one_question(subject: Subject) {
    let node = subject.node().await;
    let chain = (0..40).map(|n| (token(n), Revision::ZERO, another()));
    let levels = Levels::of_chain(chain).unwrap();
    assert!(!subject.says(&node, &levels).await.is_dead());
    node.stop(&Target::Token(token(0))).await;
    assert_eq!(subject.says(&node, &levels).await.stopped, Some(Target::Token(token(0))));
}

#[tokio::test]
async fn nothing_is_known_before_a_push() {
    let server = RedisServer::start();
    let store = Durable::default();
    store.stop(&agent());
    let node = Node::alone("broker-a", &redis_at(server.port), &store).await;
    assert_eq!(node.revocation.ask(&request()).await.map(drop), Err(RevocationError::Amnesia));
    assert_eq!(node.revocation.view().unwrap_err(), Stale { age: Duration::MAX });
    assert_eq!(node.revocation.status(), Status::Unfilled);
    node.push().await.unwrap();
    assert_eq!(node.asked(&request()).await.unwrap().stopped, Some(agent()));
    assert!(!node.asked(&others()).await.unwrap().is_dead());
    assert_eq!(node.revocation.status(), Status::Usable);
}

#[tokio::test]
async fn the_own_view_has_a_change_when_push_returns() {
    let (server, store) = (RedisServer::start(), Durable::default());
    let node = Node::ready("broker-a", &redis_at(server.port), &store).await;
    for target in targets().into_iter().rev() {
        node.stop(&target).await;
        assert!(in_view(&node, &target), "{target}");
    }
    assert!(node.revocation.view_age() <= Duration::from_secs(2));
}
