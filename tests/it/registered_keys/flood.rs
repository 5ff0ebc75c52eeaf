//! A registered agent that means harm: what it sends costs itself, within its rate, and nobody else.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::bench::{AGENT, Bench, OTHER, outcome, present};
use crate::support::broker::{BOTH, Backend};

/// Beyond the registration, so each is refused after its proof was found good.
const BEYOND: &[(&str, &str)] = &[("scope", "ledger:DELETE")];

/// The proofs that Redis remembers.
fn remembered(bench: &Bench) -> usize {
    let redis = bench.app.redis.as_ref().expect("a Redis");
    let keys: Vec<String> = redis.command(&["KEYS", "hallpass:{revocation}:once:*"]);
    keys.len()
}

#[tokio::test]
async fn refused_assertions_are_within_the_rate_and_cost_no_other_agent_anything() {
    for backend in BOTH {
        let bench = Bench::limited(backend, "tokens_per_minute = 20\nrefusals_per_minute = 0").await;
        let sent: Vec<String> = (0..200).map(|n| bench.assertion(&format!("flood-{n}"))).collect();
        let begun = Instant::now();
        let answers = join_all(sent.iter().map(|assertion| present(&bench.app, assertion, BEYOND))).await;
        let refilled = begun.elapsed().as_secs() as usize / 3 + 1;
        let outcomes: Vec<String> = answers.iter().map(outcome).collect();
        let count = |of: &str| outcomes.iter().filter(|outcome| *outcome == of).count();
        let decided = count("400 invalid_scope scope_not_registered");
        assert!((20..=20 + refilled).contains(&decided), "{backend:?}: {decided} decided");
        assert_eq!(decided + count("429 slow_down rate_limited"), 200, "{backend:?} {outcomes:?}");
        if backend == Backend::Redis {
            assert_eq!(remembered(&bench), decided, "only what was within the rate is remembered");
        }
        // The other agent's proofs are good, and each of them once.
        let theirs = bench.others.token(&bench.claims(OTHER, "quiet"));
        bench.token(&theirs).await.token();
        bench.refused(&theirs, "replayed").await;
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn an_assertion_beyond_the_rate_is_not_used_up() {
    for backend in BOTH {
        let bench = Bench::limited(backend, "tokens_per_minute = 60\nrefusals_per_minute = 0").await;
        let mut n = 0;
        let kept = loop {
            let assertion = bench.assertion(&format!("spent-{n}"));
            let answer = present(&bench.app, &assertion, BEYOND).await;
            if answer.status == 429 {
                assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 2, "{answer:?}");
                break assertion;
            }
            n += 1;
            assert!(n < 200, "{backend:?}: no end to the rate");
        };
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        bench.token(&kept).await.token();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        bench.refused(&kept, "replayed").await;
        bench.app.finish().await;
    }
}

/// As many patterns as a body holds took 5 to 21 s of CPU for each request.
#[tokio::test]
async fn hostile_patterns_stop_no_revocation() {
    let bench = Bench::start(Backend::Memory).await;
    let element = |n: usize| {
        let pattern = format!("refs/heads/agent/{}b{n:03}", "*a".repeat(245));
        json!({"type": "git_repository", "identifier": "payments", "refs": [pattern]})
    };
    let details = json!((0..100).map(element).collect::<Vec<_>>()).to_string();
    assert!((55_000..60_000).contains(&details.len()), "{}", details.len());
    let assertions: Vec<String> = (0..8).map(|n| bench.assertion(&format!("hostile-{n}"))).collect();
    let more = [("authorization_details", details.as_str())];
    let hostile = assertions.iter().map(|assertion| present(&bench.app, assertion, &more));
    // Not theirs, so that none of them is refused for it.
    let target = format!("agent:{OTHER}");
    let begun = Instant::now();
    let (answers, _) = tokio::join!(join_all(hostile), bench.app.revoke(&target));
    let took = begun.elapsed();
    for answer in answers {
        assert_eq!(outcome(&answer), "400 invalid_authorization_details details_invalid");
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    bench.app.finish().await;
}

/// Guesses of names, and a bad client behind the address of good ones: after as many refusals as a source may have in a
/// minute the next proof of the same claimant is not verified, and nobody else is kept waiting.
#[tokio::test]
async fn the_limit_of_refusals_is_asked_before_the_signature_is_verified() {
    let bench = Bench::limited(Backend::Memory, "refusals_per_minute = 6").await;
    let mut outcomes = Vec::new();
    for n in 0..9 {
        let forged = bench.others.token(&bench.claims(AGENT, &format!("forged-{n}")));
        let answer = bench.token(&forged).await;
        outcomes.push(outcome(&answer));
        assert!(answer.status != 429 || (1..=10).contains(&answer.header("retry-after").parse().unwrap()));
    }
    let (verified, limited) = outcomes.split_at(6);
    assert!(verified.iter().all(|outcome| outcome == "401 invalid_client signature_invalid"), "{outcomes:?}");
    assert!(limited.iter().all(|outcome| outcome == "429 slow_down rate_limited"), "{outcomes:?}");
    // Not even a good one of theirs is verified now; it is not used up either.
    let good = bench.assertion("good");
    assert_eq!(outcome(&bench.token(&good).await), "429 slow_down rate_limited");
    // Another agent at the same address proves itself.
    bench.token(&bench.others.token(&bench.claims(OTHER, "neighbour"))).await.token();
    bench.app.issue().await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    bench.token(&good).await.token();
    bench.app.finish().await;
}
