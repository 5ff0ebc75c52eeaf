use proptest::prelude::*;

use super::*;

/// What the filter means, from its definition.
fn means(filter: &EventFilter, event: &Event) -> bool {
    fn holds<T: PartialEq>(wanted: &Option<T>, value: &Option<T>) -> bool {
        wanted.is_none() || wanted == value
    }
    holds(&filter.agent, &event.agent)
        && holds(&filter.owner, &event.owner)
        && holds(&filter.kind, &Some(event.kind))
        && holds(&filter.outcome, &Some(event.outcome))
        && holds(&filter.token, &event.token)
        && holds(&filter.request, &event.request)
        && filter.resource.as_ref().is_none_or(|wanted| {
            let spellings = crate::domain::permission::spellings(wanted);
            event.permissions.resources().iter().any(|name| spellings.iter().any(|s| **name == *s.as_str()))
        })
        && filter.since.is_none_or(|since| event.at >= since)
        && filter.until.is_none_or(|until| event.at < until)
}

fn any_event() -> impl Strategy<Value = Event> {
    // Times that overtake one another, and now and then a clock that was set back.
    let time = prop_oneof![8 => 0i64..50, 1 => -3_000i64..3_000];
    (0u64..12, 0usize..6, time).prop_map(|(n, kind, time)| match kind {
        0 | 1 => refused(n, time),
        2 => Event { agent: Some(agent(n % 5)), token: Some(token(n)), ..refused(n, time) },
        3 => Event::new(at(time), Kind::RegistryLoaded, Outcome::Done),
        _ => issued(n, time),
    })
}

fn any_filter() -> impl Strategy<Value = EventFilter> {
    fn some<T: std::fmt::Debug + Clone + 'static>(
        strategy: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Option<T>> {
        prop::option::weighted(0.25, strategy)
    }
    let resource = prop::sample::select(vec![
        "repo-1",
        "ledger",
        "https://github.com/acme/repo-2",
        "https://GITHUB.com/acme/repo-2.git/",
        "none",
    ]);
    let time = || prop_oneof![-10i64..500, -3_000i64..3_000].prop_map(at);
    let named = (
        some((0u64..6).prop_map(agent)),
        some((0u64..3).prop_map(|n| format!("team-{n}").parse().unwrap())),
        some(prop::sample::select(Kind::ALL)),
        some(prop::sample::select(Outcome::ALL)),
        some(resource.prop_map(str::to_owned)),
    );
    let rest =
        (some((0u64..13).prop_map(token)), some((0u64..13).prop_map(request)), some(time()), some(time()));
    (named, rest).prop_map(|((agent, owner, kind, outcome, resource), (token, request, since, until))| {
        EventFilter { agent, owner, kind, outcome, resource, token, request, since, until }
    })
}

/// Pages through everything the filter means, `page` at a time.
async fn paged(store: &Store, filter: &EventFilter, page: u32) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let events = store.events(filter, page, all.last().copied()).await.unwrap();
        assert!(events.len() <= page as usize);
        all.extend(seqs(&events));
        if events.len() < page as usize {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_filter_finds_what_it_means_and_nothing_else(
        events in prop::collection::vec(any_event(), 1..900),
        filters in prop::collection::vec((any_filter(), 1u32..40), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Place::new();
            let store = store.open().await;
            for (n, event) in events.iter().enumerate() {
                // Each a second after the one before, but for what the strategy adds.
                let event = Event { at: event.at + std::time::Duration::from_millis(n as u64 * 10), ..event.clone() };
                if event.kind == Kind::TokenIssued {
                    store.append_issuance(event, levels(0, Revision::ZERO)).await.unwrap();
                } else {
                    store.append(event).await.unwrap();
                }
            }
            for (filter, page) in &filters {
                let expected: Vec<u64> = (1..=events.len() as u64)
                    .rev()
                    .filter(|seq| {
                        let n = *seq - 1;
                        let event = &events[n as usize];
                        let at = event.at + std::time::Duration::from_millis(n * 10);
                        means(filter, &Event { at, ..event.clone() })
                    })
                    .collect();
                assert_eq!(paged(&store, filter, *page).await, expected, "{filter:?}");
            }
        });
    }
}

/// Whatever the filter, only blocks that can hold a match are read, and they are found without a walk
/// through the log.
#[tokio::test]
async fn a_search_reads_the_blocks_that_can_match() {
    let place = Place::new();
    let store = place.open().await;
    // Ten blocks of refusals, a second apart; in the third one issuance, in the sixth a late event.
    let rare = issued(7, 2_050);
    let late = Event { request: Some(request(1)), ..refused(0, 5_050) };
    for block in 0..10 {
        let odd = match block {
            2 => store.append_issuance(rare.clone(), levels(7, Revision::ZERO)).await.map(drop),
            5 => store.append(late.clone()).await.map(drop),
            _ => store.append(Event { request: None, ..refused(0, block * 1_000) }).await.map(drop),
        };
        odd.unwrap();
        let rest = (1..blocks::SIZE as i64).map(|n| {
            let event = Event { request: None, ..refused(0, block * 1_000 + n) };
            store.append(event)
        });
        futures_util::future::try_join_all(rest).await.unwrap();
    }
    let connection = schema::open_reader(&place.path()).unwrap();
    let head = tip::read_head(&connection).unwrap();
    assert_eq!(head.size, 10 * blocks::SIZE);
    let read = |filter: EventFilter| {
        let related = related::Related::of(&connection, &head, &filter, |_| None).unwrap();
        let search = events::Search::of(&connection, &head, &filter, &related).unwrap();
        let mut read = Vec::new();
        let mut next = Some(9);
        while let Some(block) = next.and_then(|block| search.newest(block).unwrap()) {
            read.push(block);
            next = block.checked_sub(1);
        }
        read
    };
    let any = EventFilter::default;
    assert_eq!(read(any()), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(read(EventFilter { agent: Some(agent(2)), ..any() }), [2]);
    assert_eq!(read(EventFilter { owner: Some("team-1".parse().unwrap()), ..any() }), [2]);
    assert_eq!(read(EventFilter { kind: Some(Kind::TokenIssued), ..any() }), [2]);
    assert_eq!(read(EventFilter { outcome: Some(Outcome::Issued), ..any() }), [2]);
    assert_eq!(read(EventFilter { resource: Some("ledger".into()), ..any() }), [2]);
    assert_eq!(read(EventFilter { agent: Some(agent(3)), ..any() }), [0u64; 0]);
    let both = EventFilter { agent: Some(agent(2)), kind: Some(Kind::TokenRefused), ..any() };
    assert_eq!(read(both), [0u64; 0]);
    // Their ids are of the start, and they came later: by their term, and the time of the id besides.
    assert_eq!(read(EventFilter { token: Some(token(7)), ..any() }), [2, 1, 0]);
    assert_eq!(read(EventFilter { request: Some(request(1)), ..any() }), [5, 1, 0]);
    assert_eq!(
        store.events(&EventFilter { token: Some(token(7)), ..any() }, 9, None).await.unwrap().len(),
        1
    );
    let times = EventFilter { since: Some(at(3_100)), until: Some(at(5_000)), ..any() };
    assert_eq!(read(times), [4, 3]);
}
