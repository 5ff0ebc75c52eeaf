//! The kill switch over a store whose disk stalls: no write of it ends, and none fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::change::Ended;
use super::lift::LiftError;
use super::{Audited, KillSwitch};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Lift, Revision, Stop, Target, Verdict};
use crate::domain::time::{Clock, Timestamp};
use crate::revocation::Revocation;
use crate::revocation::settings::{Backend, RevocationSettings};
use crate::store::{LiftOutcome, Spool, Store, StoreSettings, WaitingChange};

fn at() -> Timestamp {
    Timestamp::from_seconds(1_795_000_000)
}

fn stopped() -> Event {
    Event::new(at(), Kind::RevocationStopped, Outcome::Done)
}

fn id(n: u8) -> StopId {
    StopId::new(at(), &[n; 10])
}

fn stop_of(n: u8) -> Stop {
    let target = "agent:payments".parse().unwrap();
    let reason = "a test".to_owned();
    Stop { id: id(n), target, at: at(), reason, operator: None, revision: None, lift: None }
}

async fn kill_switch(folder: &TempDir) -> (Arc<KillSwitch>, Store) {
    let path = folder.path().join("hallpass.db");
    let store = Store::open(&StoreSettings::sqlite(&path)).await.unwrap();
    let clock = Clock::new(at);
    let settings = RevocationSettings { backend: Backend::Memory, max_staleness: Duration::from_secs(2) };
    let node = "broker-a".parse().unwrap();
    let revocation = Revocation::connect(&settings, node, "log.example", clock.clone()).await.unwrap();
    let revocation = Arc::new(revocation);
    let switch = KillSwitch::new(store.clone(), revocation, Spool::open(&path).unwrap(), clock);
    (Arc::new(switch), store)
}

fn is_stopped(switch: &KillSwitch, target: &Target) -> bool {
    let books = switch.books();
    Verdict::is_stopped(target, &books.iter().map(|book| &**book).collect::<Vec<_>>())
}

async fn until_none_waits(switch: &KillSwitch) {
    let begun = Instant::now();
    while switch.waiting() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(4), "a stop is not journaled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// However often its target is stopped, and whoever else journals meanwhile: each call is one event.
#[tokio::test]
async fn a_stop_takes_effect_though_the_store_stalls_and_is_journaled_once() {
    let folder = TempDir::new().unwrap();
    let (switch, store) = kill_switch(&folder).await;
    let stall = store.stall();
    let begun = Instant::now();
    let change = switch.stop(stop_of(1), stopped()).await;
    assert!(begun.elapsed() < Duration::from_millis(1_800), "{:?}", begun.elapsed());
    assert_eq!((change.audit, change.stop.id), (Audited::Pending, id(1)));
    assert!(is_stopped(&switch, &change.stop.target) && store.seen().revision().number() == 0);
    let again = switch.stop(stop_of(2), stopped()).await;
    assert_eq!((again.audit, again.stop.id), (Audited::Pending, id(1)));
    let kept = Spool::open(&folder.path().join("hallpass.db")).unwrap().1;
    assert_eq!(kept.iter().map(|stop| stop.stop.id).collect::<Vec<_>>(), [id(1), id(2)]);
    // It waits for nobody: the store is writing them already.
    switch.journal_waiting().await;

    drop(stall);
    until_none_waits(&switch).await;
    switch.journal_waiting().await;
    assert_eq!(store.stops(true).await.unwrap().iter().map(|stop| stop.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(store.seen_head().size, 2);
    assert!(is_stopped(&switch, &change.stop.target));
    switch.unjournaled.save().await.unwrap();
    assert!(Spool::open(&folder.path().join("hallpass.db")).unwrap().1.is_empty());
    // An earlier process may have kept it and journaled it: its id is known.
    assert_eq!(store.stop(stop_of(1), stopped()).await.unwrap().id, id(1));
    assert_eq!(store.seen_head().size, 2);
}

#[tokio::test]
async fn a_token_ends_though_the_store_stalls_and_a_lift_waits_for_its_stop() {
    let folder = TempDir::new().unwrap();
    let (switch, store) = kill_switch(&folder).await;
    let stall = store.stall();
    let token = TokenId::new(at(), &[7; 10]);
    let (ended, change) =
        tokio::join!(switch.end(token, id(1), stopped()), switch.stop(stop_of(2), stopped()));
    assert!(matches!(ended, Ended::Now), "{ended:?}");
    assert!(is_stopped(&switch, &Target::Token(token)));
    let lift = Lift {
        at: at(),
        reason: "a test".to_owned(),
        operator: "local".parse().unwrap(),
        revision: Revision::ZERO,
    };
    let event = Event::new(at(), Kind::RevocationLifted, Outcome::Done);
    let lifting = switch.lift(id(2), lift, event);
    let go = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stall);
    };
    let (lifted, ()) = tokio::join!(lifting, go);
    assert!(matches!(lifted.unwrap().0, LiftOutcome::Now(_)));
    assert!(!is_stopped(&switch, &change.stop.target), "the lift holds at once");
    until_none_waits(&switch).await;
    assert!(store.seen().has_ended(token));
    assert_eq!(store.seen_head().size, 3);
}

fn lift() -> (Lift, Event) {
    let lift = Lift {
        at: at(),
        reason: "a test".to_owned(),
        operator: "local".parse().unwrap(),
        revision: Revision::ZERO,
    };
    (lift, Event::new(at(), Kind::RevocationLifted, Outcome::Done))
}

fn waiting(n: u8) -> WaitingChange {
    WaitingChange { stop: stop_of(n), event: stopped(), ended: false }
}

/// Its stop holds for every token until the store has numbered it, so nothing that is lifted meanwhile is free.
#[tokio::test]
async fn nothing_is_lifted_under_a_stop_that_waits() {
    let folder = TempDir::new().unwrap();
    let (switch, store) = kill_switch(&folder).await;
    switch.stop(stop_of(1), stopped()).await;
    // The store goes on writing it, and nobody else journals it meanwhile.
    assert!(switch.unjournaled.add_in_flight(waiting(2)));
    for n in [1, 2] {
        let (lift, event) = lift();
        let error = switch.lift(id(n), lift, event).await.unwrap_err();
        assert!(matches!(error, LiftError::Waits(_)), "{n}: {error}");
    }
    assert!(store.stop_of(id(1)).await.unwrap().unwrap().lift.is_none());
    switch.unjournaled.land(id(2));
    let (lifting, event) = lift();
    let change = switch.lift(id(1), lifting, event).await.unwrap().1.unwrap();
    assert_eq!(change.confirmed.len(), 1);
    assert!(!is_stopped(&switch, &change.stop.target));

    // One that comes while a lift is on its way is told by the lift's answer.
    switch.stop(stop_of(3), stopped()).await;
    let (lifting, event) = lift();
    let LiftOutcome::Now(lifted) = store.lift(id(3), lifting, event).await.unwrap() else { panic!() };
    assert!(switch.unjournaled.add(waiting(4)));
    let change = switch.spread(lifted, Audited::Recorded).await;
    assert_eq!((change.confirmed.len(), change.pending.len()), (0, 1));
}

#[tokio::test]
async fn on_a_disk_that_stalls_a_lift_says_that_it_may_come_later() {
    let folder = TempDir::new().unwrap();
    let (switch, store) = kill_switch(&folder).await;
    switch.stop(stop_of(1), stopped()).await;
    let stall = store.stall();
    let begun = Instant::now();
    let (lifting, event) = lift();
    let error = switch.lift(id(1), lifting, event).await.unwrap_err();
    assert!(matches!(error, LiftError::Unanswered), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(is_stopped(&switch, &stop_of(1).target));
    drop(stall);
    let begun = Instant::now();
    while is_stopped(&switch, &stop_of(1).target) {
        assert!(begun.elapsed() < Duration::from_secs(4), "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn on_a_disk_that_stalls_nobody_waits_for_the_journal_and_each_stop_is_journaled_once() {
    let folder = TempDir::new().unwrap();
    let (switch, store) = kill_switch(&folder).await;
    assert!(switch.unjournaled.add(waiting(1)));
    let stall = store.stall();
    let begun = Instant::now();
    tokio::join!(switch.journal_waiting(), switch.journal_waiting());
    switch.journal_waiting().await;
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    assert_eq!(switch.waiting(), 1);
    drop(stall);
    until_none_waits(&switch).await;
    switch.journal_waiting().await;
    assert_eq!(store.seen_head().size, 1);
}
