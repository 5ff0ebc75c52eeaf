//! What operators read: agents, stops, and whether tokens can be issued.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::degraded::Degraded;
use crate::broker::{Broker, Denied};
use crate::domain::agent::Agent;
use crate::domain::count::counted;
use crate::domain::event::Event;
use crate::domain::id::AgentId;
use crate::domain::reason::Reason;
use crate::domain::revocation::{Levels, Stop, Target};
use crate::domain::time::Timestamp;
use crate::revocation::Status;
use crate::store::StoreError;

/// The log of the broker says why the store fails; it may not be for everybody who reads readiness.
const STORE_REMEDY: &str = "see the log for the cause (a full disk, a database that is down) and mend it; the broker goes on by itself";

/// An agent as it stands now.
pub struct AgentStatus {
    pub agent: Arc<Agent>,
    /// The stop that covers it.
    pub stopped_by: Option<Target>,
    pub last_issued: Option<Timestamp>,
    pub live_tokens: u64,
}

/// Whether tokens can be issued, and what is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    /// Each part that is not well.
    pub degraded: Vec<Degraded>,
}

impl Broker {
    /// The registered agents, by id.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>, StoreError> {
        let registry = self.registry();
        let ids: Vec<AgentId> = registry.agents().map(|agent| agent.id.clone()).collect();
        let mut activity = self.store.activity(&ids, self.kill_switch.books().to_vec(), self.now()).await?;
        let status = |agent: &Arc<Agent>| {
            let active = activity.remove(&agent.id).unwrap_or_default();
            AgentStatus {
                stopped_by: self.stopped_by(agent),
                last_issued: active.last_issued,
                live_tokens: active.live,
                agent: Arc::clone(agent),
            }
        };
        Ok(registry.agents().map(status).collect())
    }

    pub async fn agent(&self, id: &AgentId) -> Result<Option<AgentStatus>, StoreError> {
        Ok(self.agents().await?.into_iter().find(|status| status.agent.id == *id))
    }

    /// The issuances of the agent's live tokens: the newest `limit`, the newest first.
    pub async fn live_tokens(&self, id: &AgentId, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.store.live_tokens(id, self.kill_switch.books().to_vec(), self.now(), limit).await
    }

    /// The stop that covers every token of `agent`; a stop of one issuer counts where it has no other.
    fn stopped_by(&self, agent: &Agent) -> Option<Target> {
        let stopped = agent.issuers().into_iter().map(|issuer| {
            let levels = Levels::asked_by(agent.holder(issuer));
            self.kill_switch.known(&levels).stopped
        });
        stopped.collect::<Option<Vec<Target>>>()?.into_iter().next()
    }

    /// `sha256:…` of the agent files that decide now.
    pub fn registry_revision(&self) -> Arc<str> {
        Arc::clone(self.rules.policy().registry.revision())
    }

    /// Newest first.
    pub async fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        self.store.stops(active_only).await
    }

    /// RFC 7517: the keys that access tokens are verified with.
    pub fn jwks(&self) -> Arc<str> {
        self.keys.ring().jwks()
    }

    /// The names of the algorithms that tokens are signed with.
    pub fn signing_algorithms(&self) -> Vec<&'static str> {
        self.keys.ring().algorithms().into_iter().map(|algorithm| algorithm.as_str()).collect()
    }

    pub fn readiness(&self) -> Readiness {
        let mut degraded = Vec::new();
        let (healthy, owes_start) = (self.store.healthy(), self.owes_start());
        let store = healthy && !owes_start;
        if !healthy {
            degraded.push(Degraded::new(
                "store: the audit log cannot be written, so no token is issued",
                STORE_REMEDY,
            ));
        } else if owes_start {
            degraded.push(Degraded::new(
                "store: the start of this broker is not in the audit log yet, so no token is issued",
                STORE_REMEDY,
            ));
        }
        let behind = self.kill_switch.is_behind();
        if behind {
            degraded.push(Degraded::new(
                "revocation: Redis was not compared with the store yet, which may be an older copy of it: nothing is \
                 issued until then",
                "have this broker reach both Redis and the store; it compares them by itself",
            ));
        } else if let Status::Unusable(why) = self.kill_switch.revocation().status() {
            degraded.push(Degraded::new(
                format!(
                    "revocation: Redis cannot be used: {why}. The store answers in its place, but not for proofs that \
                     work once (registered keys, DPoP): those get no token"
                ),
                "mend Redis or the way to it; the broker goes on with it by itself",
            ));
        }
        degraded.extend(self.rules.degraded());
        // Without why: addresses and paths are for the log.
        degraded.extend(
            self.authenticator().status().into_iter().filter(|issuer| issuer.error.is_some()).map(|issuer| {
                let serve = if issuer.keys > 0 { "those at hand serve on" } else { "none are at hand" };
                Degraded::new(
                    format!("issuer {}: its keys cannot be fetched, {serve}; the log says why", issuer.name),
                    "have the issuer answer this broker; it asks again by itself",
                )
            }),
        );
        degraded.extend(self.nodes.degraded(&self.registry_revision(), Instant::now()));
        let waiting = self.kill_switch.waiting();
        if waiting > 0 {
            degraded.push(Degraded::new(
                format!("audit: {} in effect and not yet in the log", counted(waiting, "stop")),
                "let the broker run until the store can be written again; it journals them by itself",
            ));
        }
        Readiness { ready: store && !behind, degraded }
    }

    /// OpenMetrics text without its end, with the gauges as they are now.
    pub fn metrics(&self) -> Result<String, Denied> {
        let now = self.now();
        let gauges = crate::broker::metrics::Gauges {
            revocation_view_age: self.kill_switch.revocation().view_age(),
            key_age: self.keys.ring().age(now),
            log_size: self.audit.size(),
            registry_rejected: self.rules.has_rejected_agents(),
            store_healthy: self.store.healthy(),
            unjournaled: self.kill_switch.waiting(),
            configuration_rejected: self.rules.has_rejected_configuration(),
            issuers: self.authenticator().status(),
        };
        self.metrics.render(&gauges).map_err(|_| Reason::Internal.into())
    }
}
