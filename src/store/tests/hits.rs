//! What a search finds beside the events that bear a name: what hit it, and what came of it.

use super::*;

contract!(
    a_token_is_found_with_its_stop_and_what_was_handed_down,
    an_agent_and_an_owner_are_found_with_the_stops_that_hit_them,
    a_token_is_found_with_the_stops_of_its_parents_holders,
    the_stop_of_a_token_names_its_holder,
);

/// A token handed down from `parent`, in a log where each event is of about the same time.
pub(in crate::store) fn child(n: u64, parent: u64) -> Event {
    Event { parent: Some(token(parent)), ..issued(n, 0) }
}

pub(in crate::store) async fn append_issued(store: &Store, event: Event) -> u64 {
    let as_of = store.seen().revision();
    let Some(id) = event.token else { panic!() };
    let levels = Levels::of(id, as_of, holder(4));
    match store.append_issuance(event, levels.into()).await.unwrap() {
        Issuance::Recorded(receipt) => receipt.seq(),
        Issuance::Dead(verdict) => panic!("{verdict:?}"),
    }
}

pub(in crate::store) async fn pad(store: &Store, events: u64) {
    let other = |n| Event { at: at(600_000), ..refused(1000 + n, 600_000) };
    let waiting = (0..events).map(|n| store.append(other(n)));
    futures_util::future::try_join_all(waiting).await.unwrap();
}

pub(in crate::store) async fn find(store: &Store, filter: &EventFilter) -> Vec<u64> {
    let whole = seqs(&store.events(filter, 500, None).await.unwrap());
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = seqs(&store.events(filter, 1, before).await.unwrap());
        let Some(seq) = page.last() else { break };
        before = Some(*seq);
        paged.extend(page);
    }
    assert_eq!(whole, paged, "page by page as at once");
    whole
}

/// The same in full blocks, where the terms tell, and in the open one.
async fn a_token_is_found_with_its_stop_and_what_was_handed_down(place: Place) {
    for gap in [0, 300] {
        let place = place.another();
        let store = place.open().await;
        let mut seqs = vec![append_issued(&store, issued(1, 0)).await];
        pad(&store, gap).await;
        seqs.push(append_issued(&store, child(2, 1)).await);
        append_issued(&store, issued(20, 0)).await;
        pad(&store, gap).await;
        seqs.push(append_issued(&store, child(3, 2)).await);
        append_issued(&store, child(21, 20)).await;
        store.stop(stop_of(1, Target::Token(token(20)), 700_000), stopped(700_000)).await.unwrap();
        let stop = store.stop(stop_of(2, Target::Token(token(1)), 700_000), stopped(700_000)).await.unwrap();
        seqs.push(store.seen_head().size);
        pad(&store, gap).await;
        store.lift(stop.id, lift_at(800_000), lifted()).await.unwrap();
        seqs.push(store.seen_head().size);
        store.end(token(3), stopped(800_000)).await.unwrap();
        seqs.push(store.seen_head().size);
        pad(&store, gap).await;
        seqs.reverse();
        let of = |token| EventFilter { token: Some(token), ..EventFilter::default() };
        assert_eq!(find(&store, &of(token(1))).await, seqs, "{gap}");
        let kind = Some(Kind::RevocationStopped);
        assert_eq!(find(&store, &EventFilter { kind, ..of(token(1)) }).await, [seqs[0], seqs[2]], "{gap}");
        assert_eq!(find(&store, &of(token(3))).await, [seqs[0], seqs[3]], "not what it came from: {gap}");
        // Whose token it is is told by its own issuance, whatever was handed down from it since.
        let own = store.token(token(1)).await.unwrap().unwrap();
        assert_eq!(own.seq, *seqs.last().unwrap());
        store.close().await;
        place.verify().unwrap();
    }
}

async fn an_agent_and_an_owner_are_found_with_the_stops_that_hit_them(place: Place) {
    for gap in [0, 300] {
        let place = place.another();
        let store = place.open().await;
        // Agent 1 of team-1 by github; agent 2 of team-0 by github; agent 3 of team-1 by gitlab.
        let gitlab = Some(Workload("gitlab|project_path:acme/x".into()));
        append_issued(&store, issued(1, 0)).await;
        append_issued(&store, issued(2, 0)).await;
        append_issued(&store, Event { workload: gitlab, ..issued(3, 0) }).await;
        pad(&store, gap).await;
        let mut at_target = HashMap::new();
        let names = [
            "everything",
            "agent:agent-1",
            "agent:agent-2",
            "owner:team-1",
            "owner:team-0",
            "issuer:github",
            "issuer:gitlab",
        ];
        for (n, name) in (0..).zip(names) {
            let target: Target = name.parse().unwrap();
            let stop = store.stop(stop_of(n, target, 700_000), stopped(700_000)).await.unwrap();
            pad(&store, gap).await;
            store.lift(stop.id, lift_at(800_000), lifted()).await.unwrap();
            let head = store.seen_head().size;
            at_target.insert(name, [head - gap - 1, head]);
        }
        pad(&store, gap).await;
        let expect = |own: &[u64], hit: &[&str]| {
            let mut seqs: Vec<u64> =
                hit.iter().flat_map(|name| at_target[name]).chain(own.iter().copied()).collect();
            seqs.sort_unstable_by(|a, b| b.cmp(a));
            seqs
        };
        let agent_1 = EventFilter { agent: Some(agent(1)), ..EventFilter::default() };
        let hit = ["everything", "agent:agent-1", "owner:team-1", "issuer:github"];
        assert_eq!(find(&store, &agent_1).await, expect(&[1], &hit), "{gap}");
        let team_1 = EventFilter { owner: Some("team-1".parse().unwrap()), ..EventFilter::default() };
        let hit = ["everything", "agent:agent-1", "owner:team-1", "issuer:github", "issuer:gitlab"];
        assert_eq!(find(&store, &team_1).await, expect(&[1, 3], &hit), "{gap}");
        let both = EventFilter { owner: Some("team-0".parse().unwrap()), ..agent_1.clone() };
        assert_eq!(find(&store, &both).await, expect(&[], &["everything", "issuer:github"]), "{gap}");
        let lifts = EventFilter { kind: Some(Kind::RevocationLifted), since: Some(at(700_001)), ..agent_1 };
        let lifted =
            ["everything", "agent:agent-1", "owner:team-1", "issuer:github"].map(|name| at_target[name][1]);
        assert_eq!(find(&store, &lifts).await, lifted.into_iter().rev().collect::<Vec<_>>(), "{gap}");
        let nobody = EventFilter { agent: Some("nobody".parse().unwrap()), ..EventFilter::default() };
        assert_eq!(find(&store, &nobody).await, expect(&[], &["everything"]), "{gap}");
        store.close().await;
        place.verify().unwrap();
    }
}

/// A child's token dies by a stop of whoever holds a token that it came from, while it lives.
async fn a_token_is_found_with_the_stops_of_its_parents_holders(place: Place) {
    for gap in [0, 300] {
        let place = place.another();
        let store = place.open().await;
        let early = store.stop(stop_of(1, Target::Agent(agent(1)), 0), stopped(0)).await.unwrap();
        store.lift(early.id, lift_at(0), lifted()).await.unwrap();
        append_issued(&store, issued(1, 0)).await;
        append_issued(&store, child(2, 1)).await;
        pad(&store, gap).await;
        let child = append_issued(&store, child(3, 2)).await;
        let mut seqs = vec![child];
        for (n, name) in
            (2..).zip(["agent:agent-1", "agent:agent-4", "owner:team-0", "issuer:github", "everything"])
        {
            store.stop(stop_of(n, name.parse().unwrap(), 5_000), stopped(5_000)).await.unwrap();
            if name != "agent:agent-4" {
                seqs.push(store.seen_head().size);
            }
            pad(&store, gap).await;
        }
        store.end(token(1), stopped(5_000)).await.unwrap();
        seqs.push(store.seen_head().size);
        // It has expired.
        store
            .stop(stop_of(9, Target::Owner("team-1".parse().unwrap()), 600_000), stopped(600_000))
            .await
            .unwrap();
        seqs.reverse();
        let of = |token| EventFilter { token: Some(token), ..EventFilter::default() };
        assert_eq!(find(&store, &of(token(3))).await, seqs, "{gap}");
        store.close().await;
        place.verify().unwrap();
    }
}

/// Who stops a token while the store is away cannot tell whose it is.
async fn the_stop_of_a_token_names_its_holder(place: Place) {
    let store = place.open().await;
    append_issued(&store, issued(1, 0)).await;
    store.stop(stop_of(1, Target::Token(token(1)), 9), stopped(9)).await.unwrap();
    store.stop(stop_of(2, Target::Token(token(1)), 9), stopped(9)).await.unwrap();
    store.stop(stop_of(3, Target::Token(token(2)), 9), stopped(9)).await.unwrap();
    let filters = [
        EventFilter { agent: Some(agent(1)), ..EventFilter::default() },
        EventFilter { owner: Some("team-1".parse().unwrap()), ..EventFilter::default() },
    ];
    for filter in filters {
        assert_eq!(find(&store, &filter).await, [3, 2, 1]);
    }
    store.close().await;
    place.verify().unwrap();
}
