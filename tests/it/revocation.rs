//! The kill switch: what holds of every variant, and what Redis may do to a node that relies on it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod clocks;
mod cluster;
mod contract;
mod forks;
mod hostile;
mod merge;
mod node;
mod other_store;
mod outage;
mod permissions;
mod prune;
mod refusing;
mod sentinel;
mod several;
mod unnumbered;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{Book, Holder, Levels, Revision, Target, Verdict};
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::revocation::settings::{Backend, RedisSettings, RevocationSettings};
use hallpass::revocation::{Applied, Revocation, RevocationError, Status};

use self::node::{Durable, Node, eventually, in_view, recovered};
use crate::support::redis::RedisServer;

const START: i64 = 1_795_000_000;
/// Of the store that the nodes of a test share.
const ORIGIN: &str = "log.hallpass.test";
const STOPS: &str = "hallpass:{revocation}:stops";
const LOG: &str = "hallpass:{revocation}:log";
const SEEN: &str = "hallpass:{revocation}:seen";

fn clock() -> Clock {
    let started = Instant::now();
    Clock::new(move || Timestamp::from_seconds(START) + started.elapsed())
}

/// `second` after the start of the tests' time.
fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(START + second)
}

fn r(number: u64) -> Revision {
    Revision::new(number)
}

fn token(n: u32) -> TokenId {
    let [a, b, c, d] = n.to_be_bytes();
    TokenId::new(at(0), &[0, 0, 0, 0, 0, 0, a, b, c, d])
}

fn holder() -> Holder {
    Holder {
        agent: "payments-refactorer".parse().unwrap(),
        owner: "@acme/team-payments".parse().unwrap(),
        issuer: "github".parse().unwrap(),
    }
}

fn another() -> Holder {
    Holder {
        agent: "docs-writer".parse().unwrap(),
        owner: "team-docs".parse().unwrap(),
        issuer: "gitlab".parse().unwrap(),
    }
}

/// A request of the agent.
fn request() -> Levels {
    Levels::asked_by(holder())
}

/// A token that was handed down from another of the same agent, both decided at `as_of`.
fn since(as_of: Revision) -> Levels {
    Levels::of_chain([(token(1), as_of, holder()), (token(2), as_of, holder())]).unwrap()
}

/// A request that `everything` covers, and nothing else that covers [`request`].
fn others() -> Levels {
    Levels::asked_by(another())
}

fn of_token(n: u32) -> Levels {
    Levels::of(token(n), Revision::ZERO, another())
}

fn agent() -> Target {
    Target::Agent(holder().agent)
}

fn owner() -> Target {
    Target::Owner(holder().owner)
}

/// Every target that covers [`since`], the widest first.
fn targets() -> Vec<Target> {
    let mut targets = since(Revision::ZERO).targets();
    targets.dedup();
    targets
}

fn redis_at(port: u16) -> RevocationSettings {
    redis_of(&format!("redis://127.0.0.1:{port}"))
}

fn redis_of(url: &str) -> RevocationSettings {
    with(RedisSettings::new(url.parse().unwrap()))
}

fn with(redis: RedisSettings) -> RevocationSettings {
    settings(Backend::Redis(Box::new(redis)))
}

fn settings(backend: Backend) -> RevocationSettings {
    RevocationSettings { backend, max_staleness: Duration::from_secs(2) }
}

async fn connect(name: &str, settings: &RevocationSettings) -> Arc<Revocation> {
    connect_of(ORIGIN, name, settings, clock()).await.unwrap()
}

async fn connect_of(
    origin: &str,
    name: &str,
    settings: &RevocationSettings,
    clock: Clock,
) -> Result<Arc<Revocation>, RevocationError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Revocation::connect(settings, name.parse().unwrap(), origin, clock).await.map(Arc::new)
}

fn names(names: &[&str]) -> Vec<hallpass::domain::id::BrokerName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}
