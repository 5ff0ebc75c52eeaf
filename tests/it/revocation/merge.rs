//! The script in Redis and the rule in the domain are one rule.

use hallpass::domain::revocation::Standing;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Few numbers and few ids, so that ties are frequent; all lengths of number, so that texts that sort otherwise than
/// numbers do are met.
fn standing() -> impl Strategy<Value = Standing> {
    let number = || prop_oneof![0u64..12, 95u64..105, Just(999_999_999_999_999u64)];
    let stop = prop::option::of((any::<[u8; 2]>(), 0i64..3).prop_map(|([first, rest], millis)| {
        let mut random = [rest; 10];
        random[9] = first;
        StopId::new(Timestamp::from_millis(millis), &random)
    }));
    (number(), number(), stop).prop_map(|(one, two, stop)| {
        let changed = r(one.max(two));
        let stopped = if stop.is_some() { changed } else { r(one.min(two)) };
        Standing { stop, stopped, changed }
    })
}

fn written(Standing { stop, stopped, changed }: Standing) -> String {
    let stop = stop.map_or_else(|| "-".to_owned(), |stop| stop.to_string());
    format!("{changed} {stopped} {stop}")
}

#[test]
fn redis_merges_as_the_domain_does() {
    let server = RedisServer::start();
    let script = redis::Script::new(include_str!("../../../src/revocation/redis/push.lua"));
    let mut connection = server.client();
    let zero = "0".repeat(64);
    let mut push = move |field: &str, values: &[Standing]| -> (i64, String) {
        let state: Option<String> =
            redis::cmd("HGET").arg(STOPS).arg("state").query(&mut connection).unwrap();
        let base = state.as_deref().map_or("-".to_owned(), |state| {
            let parts: Vec<&str> = state.split(' ').collect();
            format!("{} {} {}", parts[1], parts[3], parts[4])
        });
        let mut call = script.prepare_invoke();
        call.key(STOPS).key(LOG).arg("last").arg(ORIGIN).arg("life.1").arg(base).arg(0);
        call.arg(0).arg(&zero).arg(0).arg("on");
        for value in values {
            call.arg(field).arg(written(*value));
        }
        call.invoke(&mut connection).unwrap()
    };
    let next = std::cell::Cell::new(0u32);
    let push = std::cell::RefCell::new(&mut push);
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(standing(), 1..8), |history| {
            next.set(next.get() + 1);
            let target = Target::Agent(format!("agent-{}", next.get()).parse().unwrap()).to_string();
            let mut expected = history[0];
            // All of it in one part, for another target.
            let at_once = format!("{target}-at-once");
            push.borrow_mut()(&at_once, &history);
            for one in &history {
                expected = expected.merge(*one);
                let (done, _) = push.borrow_mut()(&target, &[*one]);
                prop_assert_eq!(done, 1);
                let stored: String = server.command(&["HGET", STOPS, &target]);
                prop_assert_eq!(stored, written(expected));
            }
            let stored: String = server.command(&["HGET", STOPS, &at_once]);
            prop_assert_eq!(stored, written(expected));
            Ok(())
        })
        .unwrap();
}
