use super::*;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;

contract!(
    live_tokens_are_those_neither_expired_nor_stopped,
    a_token_of_the_longest_life_is_counted_to_its_end,
    the_longest_url_is_found_and_holds_up_nobody,
);

async fn live_tokens_are_those_neither_expired_nor_stopped(place: Place) {
    let store = place.open().await;
    for n in 0..10 {
        issue(&store, n, n as i64 * 1000).await;
    }
    store.append(Event { agent: Some(agent(0)), ..refused(50, 9_500) }).await.unwrap();
    let agents: Vec<AgentId> = (0..6).map(agent).collect();
    let now = |seconds: i64| at(seconds * 1000);
    let live = async |seconds| {
        let activity = store.activity(&agents, vec![store.seen()], now(seconds)).await.unwrap();
        agents.iter().map(|agent| activity[agent].live).collect::<Vec<_>>()
    };
    assert_eq!(live(10).await, [2, 2, 2, 2, 2, 0]);
    // Token 5, of agent 0, was issued at second 5 for 600 seconds.
    assert_eq!(live(604).await, [1, 1, 1, 1, 1, 0]);
    assert_eq!(live(605).await, [0, 1, 1, 1, 1, 0]);
    let activity = store.activity(&agents, vec![store.seen()], now(10)).await.unwrap();
    assert_eq!(activity[&agent(0)].last_issued, Some(at(5000)));
    assert_eq!(activity[&agent(5)], Activity::default());

    let reach = store.reach(&Target::Owner("team-1".parse().unwrap()), now(10)).await.unwrap();
    assert_eq!(reach.tokens, 5);
    assert_eq!(reach.agents.len(), 5);
    let urls = |repos: &[u64]| repos.iter().map(|n| format!("https://github.com/acme/repo-{n}")).collect();
    assert_eq!(reach.repositories, urls(&[0, 1, 2]));
    let one = store.reach(&Target::Token(token(4)), now(10)).await.unwrap();
    let agents_hit = [agent(4)].into_iter().collect();
    assert_eq!(one, Reach { tokens: 1, agents: agents_hit, repositories: urls(&[1]) });
    assert_eq!(store.reach(&Target::Issuer("github".parse().unwrap()), now(10)).await.unwrap().tokens, 10);
    assert_eq!(
        store.reach(&Target::Issuer("gitlab".parse().unwrap()), now(10)).await.unwrap(),
        Reach::default()
    );

    store.stop(stop_of(1, Target::Agent(agent(4)), 10_000), stopped(10_000)).await.unwrap();
    assert_eq!(live(10).await, [2, 2, 2, 2, 0, 0]);
    assert_eq!(store.reach(&Target::Everything, now(10)).await.unwrap().tokens, 8);
}

async fn a_token_of_the_longest_life_is_counted_to_its_end(place: Place) {
    let store = place.open().await;
    let life = MAX_TOKEN_LIFETIME.as_secs();
    let event = Event { ttl: Some(Duration::from_secs(life).into()), ..issued(1, 999) };
    store.append_issuance(event, levels(1, Revision::ZERO)).await.unwrap();
    let live = async |millis| store.reach(&Target::Everything, at(millis)).await.unwrap().tokens;
    assert_eq!(live(life as i64 * 1000 - 1).await, 1);
    assert_eq!(live(life as i64 * 1000).await, 0);
}

/// A URL may be as long as its file.
async fn the_longest_url_is_found_and_holds_up_nobody(place: Place) {
    let store = place.open().await;
    // Of digests, which nothing makes shorter.
    let path: String = (0..8192u64 / 64).map(|n| Digest::of(&bytes(n)).to_string()).collect();
    let url = format!("https://git.acme.internal/{path}");
    let json = format!(
        r#"[{{"type":"git_repository","identifier":"long","locations":["{url}"],"actions":["read"],"refs":["**"]}}]"#
    );
    let permissions: Vec<GrantedPermission> = serde_json::from_str(&json).unwrap();
    let long = append(&store, Event { permissions: permissions.into(), ..issued(1, 0) }).await;
    refuse(&store, 0..300).await;
    let of = |name: &str| EventFilter { resource: Some(name.to_owned()), ..EventFilter::default() };
    assert_eq!(seqs(&store.events(&of(&url), 9, None).await.unwrap()), [long]);
    assert_eq!(seqs(&store.events(&of("long"), 9, None).await.unwrap()), [long]);
    for other in [&url[..url.len() - 1], "a\0b"] {
        assert!(store.events(&of(other), 9, None).await.unwrap().is_empty());
    }
    store.close().await;
    place.verify().unwrap();
}

async fn append(store: &Store, event: Event) -> u64 {
    match store.append_issuance(event, levels(1, Revision::ZERO)).await.unwrap() {
        Issuance::Recorded(receipt) => receipt.seq(),
        Issuance::Dead(verdict) => panic!("{verdict:?}"),
    }
}
