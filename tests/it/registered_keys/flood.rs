//! A registered agent that means harm: what it sends costs itself, within its rate, and nobody else.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;

use super::bench::{AGENT, Bench, OTHER, outcome, present};
use crate::flood::siege::defence::costly_details;
use crate::support::broker::{Answer, BOTH, Backend};
use crate::support::signer::Signer;

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

/// Whoever saw an assertion sends it again and again: it is worth nothing, and costs its agent nothing.
#[tokio::test]
async fn a_spent_assertion_uses_up_no_rate_of_its_agent() {
    for backend in BOTH {
        let bench = Bench::limited(backend, "tokens_per_minute = 20\nrefusals_per_minute = 0").await;
        let spent = bench.assertion("spent");
        bench.token(&spent).await.token();
        for _ in 0..100 {
            bench.refused(&spent, "replayed").await;
        }
        bench.token(&bench.assertion("fresh")).await.token();
        bench.app.finish().await;
    }
}

/// Such patterns took 5 to 21 s of CPU for each request.
#[tokio::test]
async fn hostile_patterns_stop_no_revocation() {
    let bench = Bench::start(Backend::Memory).await;
    let details = costly_details(0);
    let assertions: Vec<String> = (0..8).map(|n| bench.assertion(&format!("hostile-{n}"))).collect();
    let more = [("authorization_details", details.as_str())];
    let hostile = assertions.iter().map(|assertion| present(&bench.app, assertion, &more));
    // Not theirs, so that none of them is refused for it.
    let target = format!("agent:{OTHER}");
    let begun = Instant::now();
    let (answers, _) = tokio::join!(join_all(hostile), bench.app.revoke(&target));
    let took = begun.elapsed();
    for answer in answers {
        assert_eq!(outcome(&answer), "400 invalid_authorization_details details_not_registered");
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    bench.app.finish().await;
}

/// The answer without what differs between any two.
fn looks(answer: &Answer) -> (String, Vec<String>) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("request_id");
    let names = answer.headers.keys().map(ToString::to_string);
    (format!("{} {body}", answer.status), names.collect())
}

/// Bad proofs beyond the rate of their source all read the same, whoever is registered, and keep nobody from its
/// token: neither a neighbour nor the agent in whose name they were sent.
#[tokio::test]
async fn bad_proofs_beyond_the_rate_read_the_same_and_lock_nobody_out() {
    let bench = Bench::limited(Backend::Memory, "refusals_per_minute = 6").await;
    let forged = |agent: &str, n: usize| bench.others.token(&bench.claims(agent, &format!("forged-{n}")));
    for n in 0..6 {
        let agent = [AGENT, "nobody"][n % 2];
        bench.refused(&forged(agent, n), "signature_invalid").await;
    }
    let mut limited = Vec::new();
    for n in 6..200 {
        let agent = [AGENT, "nobody", "keyless"][n % 3];
        let answer = bench.token(&forged(agent, n)).await;
        if answer.status == 429 {
            assert!((1..=10).contains(&answer.header("retry-after").parse().unwrap()), "{answer:?}");
            limited.push(looks(&answer));
        }
    }
    assert!(limited.len() > 180 && limited.iter().all(|one| *one == limited[0]), "{limited:?}");
    bench.token(&bench.assertion("good")).await.token();
    bench.token(&bench.others.token(&bench.claims(OTHER, "neighbour"))).await.token();
    bench.app.issue().await;
    bench.app.finish().await;
}

/// 400 bad proofs a second from the address of a good agent, each of another name: of no issuer, of the issuer, and of
/// agents that nobody registered. They used to fill all the sixteen limits of an address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_names_lock_nobody_out() {
    const FLOOD: usize = 1200;
    let bench = Bench::limited(Backend::Memory, "refusals_per_minute = 6").await;
    let nobody = Signer::es256("nobody");
    let issuer = bench.app.issuer.url();
    let invented = |n: usize| {
        let mut claims = bench.claims(&format!("invented-{n}"), "x");
        match n % 3 {
            0 => claims["iss"] = json!("https://nobody"),
            1 => claims["iss"] = json!(issuer),
            _ => {}
        }
        nobody.token(&claims)
    };
    let flood = async {
        let mut every = tokio::time::interval(Duration::from_micros(2_500));
        let (sent, mut answers) = ((0..FLOOD).map(invented), FuturesUnordered::new());
        for proof in sent {
            every.tick().await;
            let app = &bench.app;
            answers.push(async move { present(app, &proof, &[]).await.status });
            while answers.next().now_or_never().flatten().inspect(|status| assert_ne!(*status, 200)).is_some()
            {
            }
        }
        while let Some(status) = answers.next().await {
            assert_ne!(status, 200);
        }
    };
    let good = async {
        for n in 0..40 {
            let answer = bench.token(&bench.assertion(&format!("good-{n}"))).await;
            assert_eq!(outcome(&answer), "200  ", "call {n}");
            let theirs = bench.others.token(&bench.claims(OTHER, &format!("good-{n}")));
            assert_eq!(outcome(&bench.token(&theirs).await), "200  ", "call {n}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(flood, good);
    bench.app.finish().await;
}
