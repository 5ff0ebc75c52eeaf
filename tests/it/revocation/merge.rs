//! The script in Redis and the rule in the domain are one rule.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Few instants and few ids, so that ties are frequent; all lengths of number, so that texts that sort
/// otherwise than numbers do are met.
fn standing() -> impl Strategy<Value = Standing> {
    let at = prop_oneof![0i64..12, 95i64..105, Just(999_999_999_999_999i64), START * 1000..START * 1000 + 3];
    let stop = prop::option::of((any::<[u8; 2]>(), 0i64..3).prop_map(|([first, rest], millis)| {
        let mut random = [rest; 10];
        random[9] = first;
        StopId::new(Timestamp::from_millis(millis), &random)
    }));
    (at, stop).prop_map(|(at, stop)| Standing { stop, at: Timestamp::from_millis(at) })
}

#[test]
fn redis_merges_as_the_domain_does() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Nothing is ever spent, so refills bring the oldest standings too; two brokers, so that neither's own
    // view has merged them before.
    let early = Clock::new(|| Timestamp::from_millis(0));
    let brokers = runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut brokers = Vec::new();
        for name in ["broker-a", "broker-b"] {
            let (settings, name) = (redis_at(server.port), name.parse().unwrap());
            brokers.push(Revocation::connect(&settings, name, early.clone()).await.unwrap());
        }
        brokers[0].refill(&StopBook::default()).await.unwrap();
        brokers
    });
    let next = std::cell::Cell::new(0u32);
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let histories = (prop::collection::vec(standing(), 1..8), any::<bool>());
    runner
        .run(&histories, |(history, by_refill)| {
            next.set(next.get() + 1);
            let [_, a, b, c] = next.get().to_be_bytes();
            let target = Target::Token(TokenId::new(at(0), &[0, 0, 0, 0, 0, 0, 0, a, b, c]));
            let mut expected = history[0];
            for (turn, &one) in history.iter().enumerate() {
                let broker = &brokers[turn % 2];
                expected = expected.merge(one);
                runtime.block_on(async {
                    if by_refill {
                        let mut book = StopBook::default();
                        book.note(target.clone(), one);
                        broker.refill(&book).await.unwrap();
                    } else {
                        broker.apply(&target, one).await.unwrap();
                    }
                });
                let stored: String =
                    server.command(&["HGET", "hallpass:{revocation}:stops", &target.to_string()]);
                let stop = expected.stop.map_or_else(|| "-".to_owned(), |stop| stop.to_string());
                prop_assert_eq!(stored, format!("{} {}", expected.at.millis(), stop));
            }
            Ok(())
        })
        .unwrap();
}
