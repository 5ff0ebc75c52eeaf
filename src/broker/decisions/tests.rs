use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::domain::agent::example::{self, repository};
use crate::domain::decision::decide;
use crate::domain::permission::Tier;
use crate::domain::reason::Reason;

fn agent(free: &[&str]) -> Arc<Agent> {
    let url = "https://github.com/acme/payments";
    let payments = repository("payments", url, &["refs/heads/agent/*"], free, &[]);
    Arc::new(example::agent("a", vec![payments]))
}

fn decisions() -> Decisions {
    Decisions::new(Guardrails {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(900),
        protected_refs: Vec::new(),
        always_gated: BTreeSet::new(),
        never: BTreeSet::new(),
        production: Tier::Gated,
        max_delegation_depth: 3,
    })
}

fn scope(words: &[&str]) -> TokenRequest {
    TokenRequest { scope: words.iter().map(|&word| word.to_owned()).collect(), ..TokenRequest::default() }
}

#[test]
fn an_answer_at_hand_is_the_one_that_would_be_made() {
    let decisions = decisions();
    let short = TokenRequest { ttl: Some(60), ..TokenRequest::default() };
    let requests = [TokenRequest::default(), short, scope(&["payments:read"]), scope(&["payments:merge"])];
    // The second has the id and the words of the first, and a file that allows less.
    for agent in [agent(&["read", "push"]), agent(&["read"])] {
        for request in requests.iter().chain(&requests) {
            let expected = decide(&agent, decisions.guardrails(), request, None);
            assert_eq!(decisions.decide(&agent, request, None), expected, "{request:?}");
        }
    }
    assert_eq!(remembered(&decisions, "a").0, 3, "of the last file what was granted, and no refusal");
    let everything = decisions.decide(&agent(&["read"]), &TokenRequest::default(), None).granted().unwrap();
    assert_eq!(everything.ttl, decisions.guardrails().lifetime(None));
    assert!(everything.ttl > Duration::from_secs(60));
}

/// How many grants of the agent are remembered, and their bytes.
fn remembered(decisions: &Decisions, agent: &str) -> (usize, usize) {
    let agent = agent.parse().unwrap();
    let shard = decisions.shard(&agent);
    shard.agents.get(&agent).map_or((0, 0), |known| {
        assert_eq!(known.bytes, known.grants.iter().map(|answered| answered.bytes).sum::<usize>());
        (known.grants.len(), known.bytes)
    })
}

fn long(n: usize) -> TokenRequest {
    let refs = (0..80).map(|at| format!("refs/heads/agent/{n}-{at}-{}", "x".repeat(100))).collect();
    let detail = DetailRequest {
        kind: "git_repository".to_owned(),
        identifier: "payments".to_owned(),
        locations: None,
        actions: Some(vec!["push".to_owned()]),
        refs: Some(refs),
        paths: None,
        environment: None,
    };
    TokenRequest { details: vec![detail], ..TokenRequest::default() }
}

#[test]
fn one_agents_requests_take_no_memory_but_its_own() {
    let decisions = decisions();
    let mut quiet = Agent::clone(&agent(&["read"]));
    quiet.id = "quiet".parse().unwrap();
    let (loud, quiet) = (agent(&["read", "push"]), Arc::new(quiet));
    let request = TokenRequest::default();
    decisions.decide(&quiet, &request, None).granted().unwrap();
    let grant = decisions.decide(&loud, &long(0), None).granted().unwrap();
    assert!(weight(&long(0), &grant) > 30_000, "the request, the patterns and their JSON");
    for n in 0..5000 {
        let more = TokenRequest { ttl: Some(n + 1), ..TokenRequest::default() };
        decisions.decide(&loud, &more, None).granted().unwrap();
        if n % 100 == 0 {
            decisions.decide(&loud, &long(n as usize), None).granted().unwrap();
        }
        let (grants, bytes) = remembered(&decisions, "a");
        assert!((1..=AGENT_ITEMS).contains(&grants) && bytes <= AGENT_BYTES, "{grants} {bytes}");
    }
    assert!(decisions.recall(&quiet, &request).is_some(), "another agent's answer was forgotten");
}

#[test]
fn what_a_removed_file_was_granted_is_forgotten() {
    let decisions = decisions();
    for n in 0..(SHARDS * FEW_AGENTS * 3) {
        let mut one = Agent::clone(&agent(&["read"]));
        one.id = format!("agent-{n}").parse().unwrap();
        decisions.decide(&Arc::new(one), &TokenRequest::default(), None).granted().unwrap();
    }
    let kept: usize = decisions.granted.iter().map(|shard| shard.lock().unwrap().agents.len()).sum();
    assert!(kept <= SHARDS * FEW_AGENTS, "{kept}");
}

#[test]
fn what_is_stopped_is_refused_whatever_was_granted_before() {
    let decisions = decisions();
    let (agent, request) = (agent(&["read"]), TokenRequest::default());
    decisions.decide(&agent, &request, None).granted().unwrap();
    let refusal = decisions.decide(&agent, &request, Some(&Target::Everything)).granted().unwrap_err();
    assert_eq!(refusal.reason, Reason::Revoked);
}
