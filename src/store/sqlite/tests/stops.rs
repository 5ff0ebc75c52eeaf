use super::*;

#[tokio::test]
async fn a_stop_takes_effect_with_its_event_and_survives() {
    let place = Place::new();
    let store = place.open().await;
    issue(&store, 1, 0).await;
    let stop = store.stop(stop_of(1, Target::Agent(agent(1)), 500), stopped(0)).await.unwrap();
    assert_eq!(stop, stop_of(1, Target::Agent(agent(1)), 500));
    assert_eq!(store.verdict(&levels(1)).stopped, Some(Target::Agent(agent(1))));
    assert_eq!(store.verdict(&levels(2)), Verdict::default());
    let dead = store.append_issuance(issued(1, 5_000), &levels(1), None).await.unwrap();
    assert_eq!(dead, Issuance::Dead(store.verdict(&levels(1))));
    let events = store.events(&EventFilter::default(), 10, None).await.unwrap();
    assert_eq!(seqs(&events), [2, 1]);
    let event = record::parse(2, &events[0].bytes).unwrap();
    assert_eq!((event.at, event.target), (stop.at, Some(stop.target.clone())));
    assert_eq!((event.reason.as_deref(), event.operator), (Some("leak 1"), stop.operator.clone()));
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.verdict(&levels(1)).stopped, Some(Target::Agent(agent(1))));
    assert_eq!(store.stops(true).await.unwrap(), [stop]);
    drop(store);
    assert_eq!(place.verify().unwrap().size, 2);
}

#[tokio::test]
async fn stopping_again_gives_the_stop_that_is() {
    let place = Place::new();
    let store = place.open().await;
    let first = store.stop(stop_of(1, Target::Everything, 0), stopped(0)).await.unwrap();
    let event = Event { reason: Some("again".into()), ..stopped(10) };
    assert_eq!(store.stop(stop_of(2, Target::Everything, 10), event).await.unwrap(), first);
    assert_eq!(store.stops(false).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.head().size, 2);
    // The same stop once more, as after an answer that was lost, is no new one even when it was lifted.
    assert!(matches!(store.lift(first.id, lift_at(20), lifted).await.unwrap(), Lifted::Now(_)));
    let again = store.stop(first.clone(), stopped(30)).await.unwrap();
    assert_eq!(again.lift, Some(lift_at(20)));
    assert_eq!(store.head().size, 3);
    assert_eq!(place.verify().unwrap().size, 3);
}

#[tokio::test]
async fn changes_of_one_target_never_share_an_instant() {
    let place = Place::new();
    let store = place.open().await;
    let target = Target::Agent(agent(1));
    let first = store.stop(stop_of(1, target.clone(), 1_000), stopped(1_000)).await.unwrap();
    // A clock that was set back lifts after the stop all the same.
    let Lifted::Now(first) = store.lift(first.id, lift_at(400), lifted).await.unwrap() else { panic!() };
    assert_eq!(first.lift, Some(lift_at(1_001)));
    let second = store.stop(stop_of(2, target.clone(), 900), stopped(900)).await.unwrap();
    assert_eq!(second.at, at(1_002));
    assert_eq!(store.verdict(&levels(1)).stopped, Some(target.clone()));
    // Another target is not held up by it.
    let other = store.stop(stop_of(3, Target::Agent(agent(2)), 900), stopped(900)).await.unwrap();
    assert_eq!(other.at, at(900));
    let Lifted::Now(second) = store.lift(second.id, lift_at(2_000), lifted).await.unwrap() else { panic!() };
    let already = store.lift(second.id, lift_at(3_000), lifted).await.unwrap();
    assert_eq!(already, Lifted::Already(second.clone()));
    let unknown = StopId::new(at(0), &bytes(77));
    assert_eq!(store.lift(unknown, lift_at(3_000), lifted).await.unwrap(), Lifted::Unknown);
    assert_eq!(store.stops(false).await.unwrap(), [other.clone(), second, first]);
    assert_eq!(store.stops(true).await.unwrap(), [other]);
    assert_eq!(store.head().size, 5);
    let events = store.events(&EventFilter::default(), 10, None).await.unwrap();
    let times: Vec<_> = events.iter().map(|e| record::parse(e.seq, &e.bytes).unwrap().at).collect();
    assert_eq!(times, [at(2_000), at(900), at(1_002), at(1_001), at(1_000)]);
    assert_eq!(place.verify().unwrap().size, 5);
}

#[tokio::test]
async fn after_a_lift_the_second_of_the_stop_stays_dead() {
    let place = Place::new();
    let store = place.open().await;
    let stop = store.stop(stop_of(1, Target::Everything, 1_100), stopped(1_100)).await.unwrap();
    store.lift(stop.id, lift_at(1_200), lifted).await.unwrap();
    let same_second = store.append_issuance(issued(1, 1_900), &levels(1), None).await.unwrap();
    assert!(matches!(same_second, Issuance::Dead(verdict) if verdict.stopped.is_none()));
    assert_eq!(issue(&store, 2, 2_000).await, 3);
}

#[tokio::test]
async fn memory_forgets_what_can_tell_nothing() {
    let place = Place::new();
    let store = place.open().await;
    store.stop(stop_of(1, Target::Token(token(1)), 0), stopped(0)).await.unwrap();
    let kept = store.stop(stop_of(2, Target::Agent(agent(1)), 0), stopped(0)).await.unwrap();
    assert_eq!(store.book().iter().count(), 2);
    store.close().await;
    place.hands.set(3 * 3_600_000);
    let store = place.open().await;
    assert_eq!(store.book().iter().map(|(target, _)| target).collect::<Vec<_>>(), [&kept.target]);
    assert_eq!(store.stops(true).await.unwrap().len(), 2);
    let mut book = StopBook::clone(&store.book());
    book.forget_spent(at(300 * 3_600_000));
    assert_eq!(book.verdict(&levels(1)).stopped, Some(kept.target));
}

/// Law 3 in the journal: whatever the interleaving, no issuance is ordered after a stop that covers it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_issuance_is_ordered_after_the_stop_that_covers_it() {
    let place = Place::new();
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
        let before = store.head().size;
        let issuing: Vec<_> = (0..4)
            .map(|n| {
                let store = store.clone();
                let event = Event { token: Some(token(round * 4 + n)), ..issued(1, now + 1_000) };
                tokio::spawn(async move {
                    for _ in 0..(round * 7 + n * 3) % 5 {
                        tokio::task::yield_now().await;
                    }
                    store.append_issuance(event, &levels(1), None).await.unwrap()
                })
            })
            .collect();
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        let stop = store.stop(stop_of(round, target, now + 1_000), stopped(now)).await.unwrap();
        assert!(store.verdict(&levels(1)).stopped.is_some());
        let stop_event = EventFilter { kind: Some(Kind::RevocationStopped), ..EventFilter::default() };
        let stop_seq = store.events(&stop_event, 1, None).await.unwrap()[0].seq;
        assert!(stop_seq > before);
        for task in issuing {
            match task.await.unwrap() {
                Issuance::Recorded(seq) => assert!(seq < stop_seq, "round {round}"),
                Issuance::Dead(_) => refused_any += 1,
            }
        }
        store.lift(stop.id, lift_at(now + 1_001), lifted).await.unwrap();
    }
    assert!(refused_any > 0 && refused_any < 4_000, "no race was run: {refused_any}");
    store.close().await;
    place.verify().unwrap();
}

/// A stop that was lifted between the decision and the commit leaves the parent's token dead, and what is handed
/// down from it would be of a second that the lift no longer covers.
#[tokio::test]
async fn nothing_is_handed_down_from_a_token_that_died_meanwhile() {
    let place = Place::new();
    let store = place.open().await;
    let parent = Levels::clone(&levels(0));
    let child = parent.clone().handed_to(crate::domain::revocation::Holder {
        agent: agent(1),
        owner: "team-1".parse().unwrap(),
        issuer: "gitlab".parse().unwrap(),
    });
    let child = Arc::new(child);
    let stop = stop_of(1, Target::Agent(parent.agent.clone()), 1_000);
    let stop = store.stop(stop, stopped(1_000)).await.unwrap();
    store.lift(stop.id, lift_at(1_500), lifted).await.unwrap();
    let hand = async |millis| {
        let parent = Some((parent.clone(), at(millis).seconds()));
        store.append_issuance(issued(1, 5_000), &child, parent).await.unwrap()
    };
    // The parent's token is of before the stop, of the second of the lift, and of after it.
    assert!(matches!(hand(0).await, Issuance::Dead(_)));
    assert!(matches!(hand(1_900).await, Issuance::Dead(_)));
    assert!(matches!(hand(3_000).await, Issuance::Recorded(_)));
}
