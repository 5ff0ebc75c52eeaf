use super::*;

contract!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    no_issuance_is_ordered_after_the_stop_that_covers_it
);

contract!(
    a_stop_takes_effect_with_its_event_and_survives,
    stopping_again_gives_the_stop_that_is,
    a_lift_at_its_end_yields_to_a_later_word,
    a_reason_with_a_nul_fails_nobody,
    a_stop_of_what_was_stopped_already_is_known_by_its_id,
    changes_are_numbered_in_the_order_of_the_log,
    a_token_decided_before_a_stop_is_dead_and_one_decided_after_its_lift_is_not,
    ended_tokens_are_kept_apart_from_the_stops,
    a_lost_history_is_taken_over,
    nothing_is_handed_down_from_a_token_that_died_meanwhile,
);

async fn a_stop_takes_effect_with_its_event_and_survives(place: Place) {
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let stop = store.stop(stop_of(1, Target::Agent(agent(1)), 500), stopped(0)).await.unwrap();
    assert_eq!(stop, numbered(stop_of(1, Target::Agent(agent(1)), 500), 1));
    assert_eq!(store.seen().verdict(&asked(1)).stopped, Some(Target::Agent(agent(1))));
    assert_eq!(store.seen().verdict(&asked(2)), Verdict { as_of: Revision::new(1), ..Verdict::default() });
    let dead = store.append_issuance(issued(1, 5_000), levels(1, Revision::ZERO)).await.unwrap();
    assert!(matches!(dead, Issuance::Dead(verdict) if verdict.stopped == Some(Target::Agent(agent(1)))));
    let events = store.events(&EventFilter::default(), 10, None).await.unwrap();
    assert_eq!(seqs(&events), [2, 1]);
    let event = record::parse(2, &events[0].bytes).unwrap();
    assert_eq!((event.at, event.target), (stop.at, Some(stop.target.clone())));
    assert_eq!((event.stop, event.revision), (Some(stop.id), stop.revision));
    assert_eq!((event.reason.as_deref(), event.operator), (Some("leak 1"), stop.operator.clone()));
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.seen().verdict(&asked(1)).stopped, Some(Target::Agent(agent(1))));
    assert_eq!(store.stops(true).await.unwrap(), [stop]);
    drop(store);
    assert_eq!(place.verify().unwrap().size, 2);
}

async fn stopping_again_gives_the_stop_that_is(place: Place) {
    let store = place.open().await;
    let first = store.stop(stop_of(1, Target::Everything, 0), stopped(0)).await.unwrap();
    let event = Event { reason: Some("again".into()), ..stopped(10) };
    assert_eq!(store.stop(stop_of(2, Target::Everything, 10), event).await.unwrap(), first);
    assert_eq!(store.stops(false).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.seen_head().size, 2);
    // The same stop once more, as after an answer that was lost, is no new one even when it was lifted.
    assert!(matches!(store.lift(first.id, lift_at(20), lifted()).await.unwrap(), LiftOutcome::Now(_)));
    let again = store.stop(first.clone(), stopped(30)).await.unwrap();
    assert_eq!(again.lift, Some(Lift { revision: Revision::new(2), ..lift_at(20) }));
    assert_eq!(store.seen_head().size, 3);
    assert_eq!(place.verify().unwrap().size, 3);
}

/// A stop that waited for the store is journaled onto one in force, and brought again after a crash, when that one is over.
async fn a_stop_of_what_was_stopped_already_is_known_by_its_id(place: Place) {
    let store = place.open().await;
    let first = store.stop(stop_of(1, Target::Everything, 0), stopped(0)).await.unwrap();
    let waited = || stop_of(2, Target::Everything, 10);
    // In one batch, too.
    let (one, other) = tokio::join!(store.stop(waited(), stopped(10)), store.stop(waited(), stopped(10)));
    assert_eq!((&one.unwrap(), &other.unwrap()), (&first, &first));
    assert_eq!(store.seen_head().size, 2);
    store.lift(first.id, lift_at(20), lifted()).await.unwrap();
    for others in [0, 600] {
        refuse(&store, 0..others).await;
        let size = store.seen_head().size;
        let again = store.stop(waited(), stopped(30)).await.unwrap();
        assert_eq!((again.id, again.lift.is_some()), (first.id, true));
        assert_eq!((store.seen_head().size, store.stops(true).await.unwrap()), (size, Vec::new()));
        for n in 1..=3 {
            assert_eq!(store.knows_stop(stop_of(n, Target::Everything, 0).id).await.unwrap(), n < 3, "{n}");
        }
    }
    store.close().await;
    let store = place.open().await;
    assert!(store.stop(waited(), stopped(30)).await.unwrap().lift.is_some());
    // Another one is another one.
    assert_eq!(store.stop(stop_of(3, Target::Everything, 40), stopped(40)).await.unwrap().lift, None);
    store.close().await;
    place.verify().unwrap();
}

/// The stop as the store numbered it.
fn numbered(stop: Stop, revision: u64) -> Stop {
    Stop { revision: Some(Revision::new(revision)), ..stop }
}

/// Whatever the clocks say, the order of the changes is that of their numbers.
async fn changes_are_numbered_in_the_order_of_the_log(place: Place) {
    let store = place.open().await;
    let target = Target::Agent(agent(1));
    let first = store.stop(stop_of(1, target.clone(), 1_000), stopped(1_000)).await.unwrap();
    // A clock that was set back lifts after the stop all the same, and says the time that it has.
    let LiftOutcome::Now(first) = store.lift(first.id, lift_at(400), lifted()).await.unwrap() else {
        panic!()
    };
    assert_eq!(first.lift, Some(Lift { revision: Revision::new(2), ..lift_at(400) }));
    assert_eq!(store.seen().verdict(&asked(1)).stopped, None);
    let second = store.stop(stop_of(2, target.clone(), 900), stopped(900)).await.unwrap();
    assert_eq!((second.at, second.revision), (at(900), Some(Revision::new(3))));
    assert_eq!(store.seen().verdict(&asked(1)).stopped, Some(target.clone()));
    let other = store.stop(stop_of(3, Target::Agent(agent(2)), 900), stopped(900)).await.unwrap();
    let LiftOutcome::Now(second) = store.lift(second.id, lift_at(2_000), lifted()).await.unwrap() else {
        panic!()
    };
    let already = store.lift(second.id, lift_at(3_000), lifted()).await.unwrap();
    assert_eq!(already, LiftOutcome::Already(second.clone()));
    let unknown = StopId::new(at(0), &bytes(77));
    assert_eq!(store.lift(unknown, lift_at(3_000), lifted()).await.unwrap(), LiftOutcome::Unknown);
    assert_eq!(store.stops(false).await.unwrap(), [other.clone(), second, first]);
    assert_eq!(store.stops(true).await.unwrap(), [other]);
    let events = store.events(&EventFilter::default(), 10, None).await.unwrap();
    let numbers: Vec<_> = events.iter().filter_map(|e| e.event().unwrap().revision).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1].map(Revision::new));
    assert_eq!(store.seen().revision(), Revision::new(5));
    for revision in 0..=6 {
        assert_eq!(store.mark(Revision::new(revision)).await.unwrap().is_some(), revision <= 5, "{revision}");
    }
    assert_eq!(place.verify().unwrap().size, 5);
}

/// Nothing is dead too early and nothing waits: the revision decides, in the same second too.
async fn a_token_decided_before_a_stop_is_dead_and_one_decided_after_its_lift_is_not(place: Place) {
    let store = place.open().await;
    let stop = store.stop(stop_of(1, Target::Everything, 1_100), stopped(1_100)).await.unwrap();
    store.lift(stop.id, lift_at(1_200), lifted()).await.unwrap();
    let before = store.append_issuance(issued(1, 1_900), levels(1, Revision::ZERO)).await.unwrap();
    assert!(matches!(before, Issuance::Dead(verdict) if verdict.stopped.is_none()));
    assert_eq!(issue(&store, 2, 1_200).await, 3);
    let ahead = store.append_issuance(issued(3, 1_900), levels(3, Revision::new(3))).await.unwrap();
    assert!(matches!(ahead, Issuance::Dead(_)), "decided by a number that no change has");
}

async fn ended_tokens_are_kept_apart_from_the_stops(place: Place) {
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let event = || Event { reason: Some("ended by its holder".into()), ..stopped(5) };
    let number = store.end(token(1), event()).await.unwrap();
    assert_eq!(store.end(token(1), event()).await.unwrap(), number, "once");
    assert_eq!((store.seen().standings().count(), store.stops(false).await.unwrap().len()), (0, 0));
    assert_eq!(store.seen_head().size, 2);
    let own = Levels::of(token(1), Revision::ZERO, holder(1));
    let child = own.clone().handed_to(holder(2));
    assert!(store.seen().verdict(&own).is_dead() && store.seen().verdict(&child).is_dead());
    store.close().await;
    let store = place.open().await;
    assert!(store.seen().verdict(&own).is_dead());
    // In the batch of its end, too.
    let (ended, issued) = tokio::join!(
        store.end(token(2), event()),
        store.append_issuance(
            issued(3, 9),
            Arc::new(
                Levels::of(token(2), Revision::new(1), holder(2))
                    .handed_to(holder(3))
                    .decided(token(3), Revision::new(1))
            )
        )
    );
    assert!(ended.is_ok() && matches!(issued.unwrap(), Issuance::Dead(_)));
    store.close().await;
    place.verify().unwrap();
}

/// A store that was restored takes over what it lost: nothing that anybody stopped is free, nothing issued before lives,
/// and the numbers go on above those of the lost history.
async fn a_lost_history_is_taken_over(place: Place) {
    let store = place.open().await;
    let ours = store.stop(stop_of(1, Target::Agent(agent(1)), 0), stopped(0)).await.unwrap();
    issue(&store, 2, 0).await;
    let adoption = crate::store::Adoption {
        event: Event::new(at(9), Kind::StoreRestored, Outcome::Done),
        above: Revision::new(100),
        stops: vec![(stop_of(7, Target::Agent(agent(3)), 9), stopped(9))],
        restated: vec![(ours.id, stopped(9)), (StopId::new(at(0), &bytes(99)), stopped(9))],
    };
    store.adopt(adoption).await.unwrap();
    let book = store.seen();
    assert_eq!((book.revision(), book.floor()), (Revision::new(103), Revision::new(101)));
    for n in [1, 3] {
        assert_eq!(book.verdict(&asked(n)).stopped, Some(Target::Agent(agent(n))));
    }
    for as_of in [0, 1, 100] {
        assert!(book.verdict(&levels(2, Revision::new(as_of))).is_dead(), "{as_of}");
    }
    assert!(!book.verdict(&levels(2, Revision::new(101))).is_dead());
    store.close().await;
    place.verify().unwrap();
    let store = place.open().await;
    assert_eq!((store.seen().revision(), store.seen().floor()), (Revision::new(103), Revision::new(101)));
    let lifted = store.lift(ours.id, lift_at(10), lifted()).await.unwrap();
    assert!(matches!(lifted, LiftOutcome::Now(stop) if stop.revision == Some(Revision::new(103))));
    store.close().await;
    place.verify().unwrap();
}

/// Law 3 in the journal: whatever the interleaving, no issuance is ordered after a stop that covers it.
async fn no_issuance_is_ordered_after_the_stop_that_covers_it(place: Place) {
    let store = place.open().await;
    let mut refused_any = 0;
    for round in 0..1_000u64 {
        let target = match round % 4 {
            0 => Target::Agent(agent(1)),
            1 => Target::Owner("team-1".parse().unwrap()),
            2 => Target::Issuer("github".parse().unwrap()),
            _ => Target::Everything,
        };
        let now = round as i64 * 2_000;
        let before = store.seen_head().size;
        let issuing: Vec<_> = (0..4)
            .map(|n| {
                let store = store.clone();
                let event = Event { token: Some(token(round * 4 + n)), ..issued(1, now + 1_000) };
                tokio::spawn(async move {
                    for _ in 0..(round * 7 + n * 3) % 5 {
                        tokio::task::yield_now().await;
                    }
                    let as_of = store.seen().revision();
                    let levels = Levels::of(token(round * 4 + n), as_of, holder(1));
                    store.append_issuance(event, levels.into()).await.unwrap()
                })
            })
            .collect();
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        let stop = store.stop(stop_of(round, target, now + 1_000), stopped(now)).await.unwrap();
        assert!(store.seen().verdict(&asked(1)).stopped.is_some());
        let stop_event = EventFilter { kind: Some(Kind::RevocationStopped), ..EventFilter::default() };
        let stop_seq = store.events(&stop_event, 1, None).await.unwrap()[0].seq;
        assert!(stop_seq > before);
        for task in issuing {
            match task.await.unwrap() {
                Issuance::Recorded(receipt) => assert!(receipt.seq() < stop_seq, "round {round}"),
                Issuance::Dead(_) => refused_any += 1,
            }
        }
        store.lift(stop.id, lift_at(now + 1_001), lifted()).await.unwrap();
    }
    assert!(refused_any > 0 && refused_any < 4_000, "no race was run: {refused_any}");
    store.close().await;
    place.verify().unwrap();
}

/// A stop that was lifted between the decision and the commit leaves the parent's token dead, and nothing may be handed
/// down from it.
async fn nothing_is_handed_down_from_a_token_that_died_meanwhile(place: Place) {
    let store = place.open().await;
    let stop = store.stop(stop_of(1, Target::Agent(agent(0)), 1_000), stopped(1_000)).await.unwrap();
    store.lift(stop.id, lift_at(1_500), lifted()).await.unwrap();
    let hand = async |parent_as_of| {
        let parent = Levels::clone(&levels(0, Revision::new(parent_as_of)));
        let child = parent.handed_to(holder(1)).decided(token(1), Revision::new(2));
        store.append_issuance(issued(1, 5_000), child.into()).await.unwrap()
    };
    assert!(matches!(hand(0).await, Issuance::Dead(_)), "decided before the stop");
    assert!(matches!(hand(1).await, Issuance::Recorded(_)), "decided after it, as far as numbers tell");
    assert!(matches!(hand(2).await, Issuance::Recorded(_)));
}

/// Who wrote to Redis or to the spool may have written anything.
async fn a_reason_with_a_nul_fails_nobody(place: Place) {
    let store = place.open().await;
    let stop = Stop { reason: "a\0b".into(), ..stop_of(1, Target::Everything, 0) };
    let (stopped, other) = tokio::join!(store.stop(stop, stopped(0)), store.append(refused(1, 0)));
    assert_eq!((&*stopped.unwrap().reason, other.unwrap()), ("a\u{fffd}b", 2));
    let id = StopId::new(at(0), &bytes(1));
    let lift = Lift { reason: "c\0".into(), ..lift_at(1) };
    assert!(matches!(store.lift(id, lift, lifted()).await.unwrap(), LiftOutcome::Now(_)));
    store.append(Event { detail: Some("d\0".into()), ..refused(2, 0) }).await.unwrap();
    store.close().await;
    assert_eq!(place.verify().unwrap().size, 4);
}

/// Whoever lifts a stop because its time is over does not undo that somebody stopped the target again meanwhile.
async fn a_lift_at_its_end_yields_to_a_later_word(place: Place) {
    let store = place.open().await;
    let stop = store.stop(stop_of(1, Target::Everything, 0), stopped(0)).await.unwrap();
    let lift = async |known| store.lift_knowing(stop.id, lift_at(9), lifted(), Some(known)).await.unwrap();
    let known = store.seen_head().size;
    store.stop(stop_of(2, Target::Everything, 5), stopped(5)).await.unwrap();
    assert_eq!(lift(known).await, LiftOutcome::Overtaken);
    let known = store.seen_head().size;
    let planned = Event { stop: Some(stop.id), target: Some(Target::Everything), ..stopped(6) };
    store.append(Event { kind: Kind::RevocationScheduled, ..planned }).await.unwrap();
    assert_eq!(lift(known).await, LiftOutcome::Overtaken);
    assert_eq!(store.stops(true).await.unwrap().len(), 1);
    let known = store.seen_head().size;
    // What is about another stop says nothing of this one.
    store.stop(stop_of(3, Target::Agent(agent(1)), 7), stopped(7)).await.unwrap();
    assert!(matches!(lift(known).await, LiftOutcome::Now(_)));
    store.close().await;
    place.verify().unwrap();
}
