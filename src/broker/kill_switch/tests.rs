//! The kill switch over a store whose disk stalls: no write of it ends, and none fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::change::Ended;
use super::{Audited, KillSwitch};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Lift, Revision, Stop, Target, Verdict};
use crate::domain::time::{Clock, Timestamp};
use crate::revocation::Revocation;
use crate::revocation::settings::{Backend, RevocationSettings};
use crate::store::{LiftOutcome, Spool, Store, StoreSettings};

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
    let store = Store::open(&StoreSettings { path: path.clone() }).await.unwrap();
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
