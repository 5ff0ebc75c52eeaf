//! Histories of which every state is visited: no law is broken in any of them.
//!
//! The short ones run with every test; with `HALLPASS_LONG=1` (`scripts/model`) the long ones do, too.

use crate::facts::Cast;
use crate::scenarios::{BOUNDS, FIRST, HANDED_DOWN, TOKEN, run};
use crate::state::Left;

#[track_caller]
fn proven(name: &str, cast: Cast, left: Left) {
    let outcome = run(name, cast, left, None);
    assert_eq!(outcome.violation, None, "{name}");
    assert!(outcome.is_complete, "{name}: not every state was visited");
}

/// Only where there is time: minutes, in a build with optimization.
#[track_caller]
fn proven_long(name: &str, cast: Cast, left: Left) {
    if std::env::var_os("HALLPASS_LONG").is_some() {
        proven(name, cast, left);
    }
}

/// A stop that is not lifted.
const STOP: Left = Left { lifts: 0, ..BOUNDS };
/// Two stops of two targets and a lift: what the long runs go through with each kind of fault.
const CHANGES: Left = Left { targets: 2, stops: 2, lifts: 1, ..BOUNDS };

#[test]
fn when_nothing_goes_wrong() {
    proven("a stop and its lift", FIRST, BOUNDS);
    proven("a token that is handed down", HANDED_DOWN, Left { tokens: 2, ..STOP });
    proven(
        "ended by its holder",
        TOKEN,
        Left { ends: 1, targets: 0, stops: 0, lifts: 0, tokens: 2, ..BOUNDS },
    );
    proven_long(
        "two stops and two lifts of two targets, no token",
        FIRST,
        Left { lifts: 2, tokens: 0, ..CHANGES },
    );
    proven_long("of a parent and its child, with a lift", HANDED_DOWN, Left { tokens: 2, ..BOUNDS });
    proven_long("of a token, with an end", TOKEN, Left { ends: 1, ..BOUNDS });
    proven_long("two stops and a lift of two targets", FIRST, CHANGES);
}

#[test]
fn when_nodes_die() {
    proven("a node dies", FIRST, Left { crashes: 1, ..STOP });
    proven_long("a node dies, with a lift", FIRST, Left { crashes: 1, ..BOUNDS });
    proven_long("two deaths", FIRST, Left { crashes: 2, ..BOUNDS });
}

#[test]
fn when_a_node_loses_redis() {
    proven("a link to Redis breaks", FIRST, Left { redis_cuts: 1, ..STOP });
    proven_long("a link to Redis breaks, with a lift", FIRST, Left { redis_cuts: 1, ..BOUNDS });
    proven_long("both links break", FIRST, Left { redis_cuts: 2, ..STOP });
    proven_long("a link to Redis breaks, and time passes", FIRST, Left { redis_cuts: 1, ticks: 3, ..STOP });
}

#[test]
fn when_redis_forgets() {
    proven("Redis is flushed", FIRST, Left { flushes: 1, ..STOP });
    proven("Redis fails over and loses writes", FIRST, Left { failovers: 1, ..STOP });
    proven_long("Redis is flushed, with a lift", FIRST, Left { flushes: 1, ..BOUNDS });
    proven_long("Redis fails over, with a lift", FIRST, Left { failovers: 1, ..BOUNDS });
    proven_long("flushed, and failed over", FIRST, Left { failovers: 1, flushes: 1, ..STOP });
    proven_long("failed over after two lifetimes", FIRST, Left { failovers: 1, ages: 1, ..BOUNDS });
    proven_long("flushed, and a node dies", FIRST, Left { flushes: 1, crashes: 1, ..STOP });
}

#[test]
fn when_redis_refuses_writes() {
    proven("Redis refuses writes", FIRST, Left { read_only: 1, ..STOP });
    proven_long("Redis refuses writes, with a lift", FIRST, Left { read_only: 1, ..BOUNDS });
    proven_long("Redis refuses writes, and time passes", FIRST, Left { read_only: 1, ticks: 3, ..STOP });
}

#[test]
fn when_pushes_are_late_or_broken_off() {
    proven("a late push", FIRST, Left { late: 1, tokens: 0, ..BOUNDS });
    proven_long("a late push, with a token", FIRST, Left { late: 1, ..BOUNDS });
}

#[test]
fn when_a_node_loses_the_store() {
    proven("a stop without a number", FIRST, Left { store_cuts: 1, tokens: 0, ..STOP });
    proven_long("a stop without a number, and a token", FIRST, Left { store_cuts: 1, ..STOP });
    proven_long("a stop without a number, with a lift", FIRST, Left { store_cuts: 1, ..BOUNDS });
    proven_long("a stop without a number, and a flush", FIRST, Left { store_cuts: 1, flushes: 1, ..STOP });
    proven_long(
        "a stop without a number, and a failover",
        FIRST,
        Left { store_cuts: 1, failovers: 1, ..STOP },
    );
}

#[test]
fn when_the_store_is_restored_from_a_backup() {
    proven("restored", FIRST, Left { restores: 1, ..STOP });
    proven_long("restored, with a lift", FIRST, Left { restores: 1, ..BOUNDS });
    proven_long("restored, and Redis is flushed", FIRST, Left { restores: 1, flushes: 1, ..STOP });
    proven_long("restored, and Redis is not reached", FIRST, Left { restores: 1, redis_cuts: 1, ..BOUNDS });
}
