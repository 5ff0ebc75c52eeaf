//! The installation as this broker sees it: `hallpass status`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use crate::broker::Broker;
use crate::broker::drill::JournaledDrill;
use crate::broker::kill_switch::EnforcementPoint;
use crate::broker::nodes::{Node, VERSION};
use crate::domain::id::BrokerName;
use crate::domain::time::Timestamp;
use crate::revocation::Status;
use crate::token::PublishedKey;

/// What is waited for the store and for Redis, each.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an operator asks about first. What is degraded is in [`Broker::readiness`].
pub struct Installation {
    pub name: BrokerName,
    pub version: &'static str,
    pub started: Timestamp,
    /// The revision of the agent files.
    pub registry: Arc<str>,
    pub agents: usize,
    /// By name; this broker is among them.
    pub nodes: Vec<Node>,
    pub enforcement_points: Vec<EnforcementPoint>,
    pub store: StoreStatus,
    /// None with `memory:`.
    pub redis: Option<RedisStatus>,
    /// The oldest first.
    pub keys: Vec<PublishedKey>,
    /// When another key begins to sign; none where the operator rotates it.
    pub next_rotation: Option<Timestamp>,
    /// Targets that are stopped.
    pub stops_in_force: usize,
    /// Stops that are in effect, and not yet in the audit log.
    pub stops_waiting: usize,
    /// Of the kill switch, by any broker.
    pub last_drill: Option<JournaledDrill>,
}

pub struct StoreStatus {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    pub is_writable: bool,
    /// Of one read; none where it did not answer.
    pub latency: Option<Duration>,
}

pub struct RedisStatus {
    pub is_usable: bool,
    /// Of one PING; none where it did not answer.
    pub latency: Option<Duration>,
}

impl Broker {
    /// Asks the store and Redis, and waits two seconds at most.
    pub async fn status(self: &Arc<Self>) -> Installation {
        let now = self.now();
        let ((store, last_drill), redis) = tokio::join!(self.store_status(), self.redis_status());
        let registry = self.registry();
        let (keys, next_rotation) = self.keys.ring().schedule(now);
        Installation {
            name: self.name.clone(),
            version: VERSION,
            started: self.started_at,
            registry: Arc::clone(registry.revision()),
            agents: registry.agents().len(),
            nodes: self.nodes(),
            enforcement_points: self.kill_switch.enforcement_points(),
            store,
            redis,
            keys,
            next_rotation,
            stops_in_force: self.kill_switch.stops_in_force(),
            stops_waiting: self.kill_switch.waiting(),
            last_drill,
        }
    }

    async fn store_status(self: &Arc<Self>) -> (StoreStatus, Option<JournaledDrill>) {
        let probe = async {
            // A store that stalls holds the thread of one read, however many ask.
            let turn = Arc::clone(&self.probing).lock_owned().await;
            let broker = Arc::clone(self);
            let read = async move {
                let asked = Instant::now();
                let answer = broker.store.mark(broker.store.seen().revision()).await;
                let latency = answer.ok().map(|_| asked.elapsed());
                let last_drill = broker.last_drill().await;
                drop(turn);
                latency.map(|latency| (latency, last_drill.ok().flatten()))
            };
            tokio::spawn(read.in_current_span()).await.ok().flatten()
        };
        let answered = tokio::time::timeout(PATIENCE, probe).await.ok().flatten();
        let (latency, last_drill) = answered.map_or((None, None), |(latency, drill)| (Some(latency), drill));
        let store = StoreStatus {
            kind: if self.store.is_shared() { "postgres" } else { "sqlite" },
            is_writable: self.store.healthy(),
            latency,
        };
        (store, last_drill)
    }

    async fn redis_status(&self) -> Option<RedisStatus> {
        let revocation = self.kill_switch.revocation();
        let latency = match tokio::time::timeout(PATIENCE, revocation.latency()).await {
            Ok(Ok(None)) => return None,
            Ok(Ok(latency)) => latency,
            Ok(Err(_)) | Err(_) => None,
        };
        Some(RedisStatus { is_usable: revocation.status() == Status::Usable, latency })
    }
}
