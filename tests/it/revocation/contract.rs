//! What holds of every variant.

use hallpass::domain::digest::Digest;
use hallpass::domain::revocation::Verdict;
use hallpass::revocation::Stale;

use super::*;

struct Subject {
    settings: RevocationSettings,
    _server: Option<RedisServer>,
}

impl Subject {
    fn memory() -> Self {
        Self { settings: settings(Backend::Memory), _server: None }
    }

    fn redis() -> Self {
        let server = RedisServer::start();
        Self { settings: redis_at(server.port), _server: Some(server) }
    }

    async fn filled(&self) -> Arc<Revocation> {
        let revocation = connect("broker-a", &self.settings).await;
        revocation.refill(&StopBook::default()).await.unwrap();
        revocation
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
    nothing_is_known_before_a_refill
    every_kind_of_target_stops_what_it_covers_and_is_lifted
    a_lift_never_resurrects
    the_later_change_holds_in_any_order
    a_refill_with_an_old_book_never_unstops
    an_assertion_is_used_once
    this_broker_confirms_its_own_change
    the_own_view_has_a_change_when_apply_returns
    revisions_grow
    the_levels_of_many_ancestors_are_one_question
}

async fn nothing_is_known_before_a_refill(subject: Subject) {
    let revocation = connect("broker-a", &subject.settings).await;
    assert_eq!(revocation.ask(&levels()).await, Err(RevocationError::Amnesia));
    assert_eq!(revocation.view(&levels()), Err(Stale { age: Duration::MAX }));
    assert_eq!(revocation.status(), hallpass::revocation::Status::Unfilled);
    revocation.refill(&book(&[(agent(), stopped(1, 5))])).await.unwrap();
    assert_eq!(revocation.ask(&levels()).await.unwrap().stopped, Some(agent()));
    assert_eq!(revocation.ask(&others()).await, Ok(Verdict::default()));
    assert_eq!(revocation.status(), hallpass::revocation::Status::Usable);
}

async fn every_kind_of_target_stops_what_it_covers_and_is_lifted(subject: Subject) {
    let revocation = subject.filled().await;
    for (n, target) in levels().targets().into_iter().enumerate() {
        let second = 10 * n as i64;
        revocation.apply(&target, stopped(n as u8, second)).await.unwrap();
        let verdict = revocation.ask(&levels()).await.unwrap();
        assert_eq!(verdict.stopped, Some(target.clone()));
        assert!(verdict.kills(START + 1_000_000), "{target}: a stop kills later tokens too");
        let untouched = revocation.ask(&others()).await.unwrap();
        assert_eq!(untouched.stopped.is_some(), target == Target::Everything, "{target}");
        revocation.apply(&target, lifted(second + 5)).await.unwrap();
        let verdict = revocation.ask(&levels()).await.unwrap();
        assert_eq!(verdict.stopped, None, "{target}");
        assert!(verdict.kills(START + second + 5), "{target}");
        assert!(!verdict.kills(START + second + 6), "{target}");
    }
}

async fn a_lift_never_resurrects(subject: Subject) {
    let revocation = subject.filled().await;
    for change in [stopped(1, 10), lifted(20), stopped(2, 30), lifted(40)] {
        revocation.apply(&agent(), change).await.unwrap();
        assert!(revocation.ask(&levels()).await.unwrap().kills(START + 9));
    }
    let verdict = revocation.ask(&levels()).await.unwrap();
    assert!(verdict.kills(START + 40) && !verdict.kills(START + 41));
}

async fn the_later_change_holds_in_any_order(subject: Subject) {
    let revocation = subject.filled().await;
    let history = [stopped(1, 10), lifted(20), stopped(2, 30), lifted(40)];
    let orders = [[3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1], [0, 3, 1, 2]];
    for (n, order) in orders.into_iter().enumerate() {
        let target = Target::Token(token(100 + n as u8));
        let covered = Levels { tokens: vec![token(100 + n as u8)], ..others() };
        for change in order {
            revocation.apply(&target, history[change]).await.unwrap();
        }
        let verdict = revocation.ask(&covered).await.unwrap();
        assert_eq!(verdict, Verdict { stopped: None, through: Some(START + 40) }, "{order:?}");
    }
}

async fn a_refill_with_an_old_book_never_unstops(subject: Subject) {
    let revocation = subject.filled().await;
    let old = book(&[(agent(), lifted(20)), (Target::Everything, stopped(1, 5))]);
    revocation.apply(&agent(), stopped(2, 30)).await.unwrap();
    revocation.apply(&Target::Everything, lifted(8)).await.unwrap();
    for old in [StopBook::default(), old] {
        revocation.refill(&old).await.unwrap();
        let verdict = revocation.ask(&levels()).await.unwrap();
        assert_eq!(verdict, Verdict { stopped: Some(agent()), through: Some(START + 30) });
    }
}

async fn an_assertion_is_used_once(subject: Subject) {
    let revocation = subject.filled().await;
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), one, at(100)).await, Ok(true));
    assert_eq!(revocation.use_once(&"a".parse().unwrap(), one, at(100)).await, Ok(false));
    assert_eq!(
        revocation.use_once(&"a".parse().unwrap(), two, at(0) + Duration::from_secs(1)).await,
        Ok(true)
    );
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

async fn this_broker_confirms_its_own_change(subject: Subject) {
    let revocation = subject.filled().await;
    let revision = revocation.apply(&agent(), stopped(1, 1)).await.unwrap();
    let who = revocation.confirmations(&revision, Duration::ZERO).await.unwrap();
    assert_eq!(who.confirmed, ["broker-a".parse().unwrap()]);
    assert_eq!(who.pending, []);
}

async fn the_own_view_has_a_change_when_apply_returns(subject: Subject) {
    let broker = Broker::ready("broker-a", &subject.settings).await;
    for target in levels().targets().into_iter().rev() {
        broker.revoke(&target, stopped(1, 1)).await;
        assert!(in_view(&broker, &target), "{target}");
    }
    assert!(broker.revocation.view_age() <= Duration::from_secs(2));
}

async fn revisions_grow(subject: Subject) {
    let revocation = subject.filled().await;
    let mut last = 0;
    for second in 1..5 {
        let revision = revocation.apply(&agent(), stopped(1, second)).await.unwrap();
        assert!(revision.number() > last);
        last = revision.number();
    }
}

async fn the_levels_of_many_ancestors_are_one_question(subject: Subject) {
    let revocation = subject.filled().await;
    let ancestors = Levels { tokens: (0..40).map(token).collect(), ..others() };
    revocation.apply(&Target::Token(token(39)), stopped(1, 1)).await.unwrap();
    let verdict = revocation.ask(&ancestors).await.unwrap();
    assert_eq!(verdict.stopped, Some(Target::Token(token(39))));
}
