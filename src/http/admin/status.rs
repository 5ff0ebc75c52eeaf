//! `GET /v1/status`: the installation at a glance.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoParameters, Parameters};
use crate::broker;
use crate::http::Gate;
use crate::http::authorization::AnyRole;

#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// As `/readyz` has it: `ok`, `degraded` or `unavailable`.
    status: &'static str,
    /// Each part that is not well.
    degraded: Vec<Degraded>,
    broker: ThisBroker,
    /// Every broker that this one knows, itself too, by name.
    nodes: Vec<Node>,
    /// Services outside that follow the stops, by name.
    enforcement_points: Vec<EnforcementPoint>,
    store: Store,
    /// `null` with `memory:`.
    redis: Option<Redis>,
    /// The keys that tokens are verified with, the oldest first.
    keys: Vec<Key>,
    /// When another key begins to sign, RFC 3339; `null` where the operator rotates it.
    next_rotation: Option<String>,
    /// The certificates that this broker serves TLS with.
    certificates: Vec<Certificate>,
    stops: Stops,
    /// Of the kill switch, by any broker; `null` where there was none.
    last_drill: Option<LastDrill>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LastDrillStatus)]
struct LastDrill {
    /// RFC 3339.
    at: String,
    passed: bool,
}

#[derive(Serialize, ToSchema)]
struct Degraded {
    what: String,
    /// What the operator does about it.
    remedy: &'static str,
}

/// The one that answers.
#[derive(Serialize, ToSchema)]
struct ThisBroker {
    name: String,
    version: &'static str,
    /// RFC 3339.
    started: String,
    /// The revision of the agent files.
    registry: String,
    agents: usize,
}

/// What a broker of another version does not tell is `null`.
#[derive(Serialize, ToSchema)]
struct Node {
    name: String,
    /// It told something within the last 10 s.
    alive: bool,
    version: Option<String>,
    /// RFC 3339.
    started: Option<String>,
    registry: Option<String>,
    /// How far its wall clock is ahead of this broker's, to about two seconds.
    clock_offset_ms: Option<i64>,
    /// Since this broker heard it last.
    silent_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct EnforcementPoint {
    name: String,
    /// Whether it may let a token pass. One that does not follow refuses every token.
    follows: bool,
    silent_ms: u64,
}

#[derive(Serialize, ToSchema)]
struct Store {
    /// `sqlite` or `postgres`.
    kind: &'static str,
    /// Whether a read was answered within two seconds.
    reachable: bool,
    /// Whether events can be written, without which no token is issued.
    writable: bool,
    /// Of a read.
    latency_ms: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct Redis {
    usable: bool,
    /// Of a PING.
    latency_ms: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct Key {
    kid: String,
    algorithm: &'static str,
    /// RFC 3339.
    signs_from: String,
    /// Whether tokens are signed with it now.
    signs: bool,
}

#[derive(Serialize, ToSchema)]
struct Certificate {
    /// `public` or `admin`.
    listener: &'static str,
    /// RFC 3339.
    expires: String,
}

#[derive(Serialize, ToSchema)]
struct Stops {
    /// How many targets are stopped.
    in_force: usize,
    /// Stops that are in effect, and not yet in the audit log.
    waiting: usize,
}

/// The installation as this broker sees it, and what is degraded. Asks the store and Redis, two seconds at most.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(
    _: AnyRole,
    State(gate): State<Gate>,
    _: Parameters<NoParameters>,
) -> impl IntoResponse {
    let seen = gate.broker.status().await;
    let readiness = gate.readiness();
    let degraded =
        readiness.degraded.into_iter().map(|part| Degraded { what: part.what, remedy: part.remedy });
    let certificates = gate.tls.iter().map(|tls| {
        let (listener, until) = tls.expiry();
        Certificate { listener, expires: until.to_string() }
    });
    let body = Status {
        status: readiness.status,
        degraded: degraded.collect(),
        certificates: certificates.collect(),
        ..Status::of(seen)
    };
    ([(CACHE_CONTROL, "no-store")], Json(body))
}

impl Status {
    /// Without what the listeners know.
    fn of(seen: broker::Installation) -> Self {
        let key = |key: crate::token::PublishedKey| Key {
            kid: key.kid,
            algorithm: key.algorithm.as_str(),
            signs_from: key.signs_from.to_string(),
            signs: key.signs,
        };
        Self {
            status: "ok",
            degraded: Vec::new(),
            broker: ThisBroker {
                name: seen.name.to_string(),
                version: seen.version,
                started: seen.started.to_string(),
                registry: seen.registry.to_string(),
                agents: seen.agents,
            },
            nodes: seen.nodes.into_iter().map(Node::of).collect(),
            enforcement_points: seen.enforcement_points.iter().map(EnforcementPoint::of).collect(),
            store: Store {
                kind: seen.store.kind,
                reachable: seen.store.latency.is_some(),
                writable: seen.store.is_writable,
                latency_ms: seen.store.latency.map(milliseconds),
            },
            redis: seen
                .redis
                .map(|redis| Redis { usable: redis.is_usable, latency_ms: redis.latency.map(milliseconds) }),
            keys: seen.keys.into_iter().map(key).collect(),
            next_rotation: seen.next_rotation.map(|at| at.to_string()),
            certificates: Vec::new(),
            stops: Stops { in_force: seen.stops_in_force, waiting: seen.stops_waiting },
            last_drill: seen
                .last_drill
                .map(|drill| LastDrill { at: drill.at.to_string(), passed: drill.passed }),
        }
    }
}

impl Node {
    fn of(node: broker::Node) -> Self {
        Self {
            name: node.name.to_string(),
            alive: node.is_alive,
            version: node.version,
            started: node.started.map(|at| at.to_string()),
            registry: node.registry,
            clock_offset_ms: node.clock_offset,
            silent_ms: node.silent.map(whole_milliseconds),
        }
    }
}

impl EnforcementPoint {
    fn of(point: &broker::EnforcementPoint) -> Self {
        Self {
            name: point.name.to_string(),
            follows: point.counts,
            silent_ms: whole_milliseconds(point.silent),
        }
    }
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
