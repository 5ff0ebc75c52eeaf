//! The one writer: every token, stop and lift goes through here, and so through the audit log.
//!
//! [`Broker`] owns the path of a token from proof to release (`issue`), the kill switch (`kill_switch`, `revoke`), what
//! verifiers ask (`inspect`), its rehearsal (`drill`), what operators read (`read`), dry runs (`explain`), what a start owes the log (`start`), and the
//! upkeep that runs beside them (`upkeep`). It hands the audit log to those who only read that (`audit`, `export`). HTTP
//! handlers call these and never a store.

mod audit;
mod clock_watch;
mod decisions;
mod degraded;
mod delegate;
mod drill;
mod explain;
mod export;
mod follow;
mod inspect;
mod issue;
mod kill_switch;
mod limits;
pub mod metrics;
mod nodes;
mod noise;
mod policy;
mod presented;
mod read;
mod refusals;
mod revoke;
pub mod settings;
mod settled;
mod signing_keys;
mod start;
mod status;
mod upkeep;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::checkpoint::VerifierKey;
use crate::domain::decision::Refusal;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{BrokerName, RequestId};
use crate::domain::permission::Origin;
use crate::domain::random::Random;
use crate::domain::reason::Reason;
use crate::domain::time::{Clock, Timestamp};
use crate::identity::Dpop;
use crate::store::Store;
use crate::token::KeyRing;

pub use audit::{AuditLog, Inclusion};
use clock_watch::ClockWatch;
pub use degraded::Degraded;
use drill::Drills;
pub use drill::{Drill, DrillError, DrillPoint, JournaledDrill};
pub use explain::{Explained, Mismatch, Miss, Supposed};
pub use export::{Export, Format};
pub use follow::{Following, Heartbeat, Seen};
pub use inspect::{Audience, Inspection};
pub use issue::Issued;
pub use kill_switch::{Audited, Change, EnforcementPoint, KillSwitch, TooManyFollowers};
use metrics::Metrics;
pub use nodes::Node;
use nodes::Nodes;
use policy::InForce;
pub use policy::{NewConfiguration, Rulebook};
pub use presented::{Presented, Proof};
pub use read::{AgentStatus, Readiness};
pub use refusals::{OperatorRefusal, RefusedOperator};
pub use revoke::{BY_ITSELF, KillError, Lifted, Preview};
use signing_keys::SigningKeys;
pub use start::NewKey;
use start::Start;
pub use status::Installation;
pub use upkeep::NewRegistry;

/// What `app` hands over; each part is ready for use.
pub struct Parts {
    pub name: BrokerName,
    /// `iss` of every token: the public URL.
    pub issuer: Origin,
    pub rules: Rulebook,
    pub dpop: Dpop,
    pub store: Store,
    pub kill_switch: Arc<KillSwitch>,
    pub keys: KeyRing,
    /// What the audit log's checkpoints are verified with; its name is the log's origin.
    pub log: VerifierKey,
    pub clock: Clock,
    pub random: Random,
}

pub struct Broker {
    name: BrokerName,
    issuer: Arc<str>,
    rules: InForce,
    dpop: Dpop,
    store: Store,
    kill_switch: Arc<KillSwitch>,
    keys: SigningKeys,
    audit: Arc<AuditLog>,
    metrics: Metrics,
    clock_watch: ClockWatch,
    start: Start,
    drills: Drills,
    /// The turn to lift the stops whose end has come.
    lifting: Arc<tokio::sync::Mutex<()>>,
    /// The turn to do with the store what is due.
    tending: Arc<tokio::sync::Mutex<()>>,
    /// The turn to measure how long the store takes to answer.
    probing: Arc<tokio::sync::Mutex<()>>,
    /// The other brokers of this installation.
    nodes: Nodes,
    started_at: Timestamp,
    clock: Clock,
    random: Random,
}

/// One call, as it stands in its answer, its log lines and its events.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub request: RequestId,
    pub peer: IpAddr,
}

/// A refused call: what its sender may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub reason: Reason,
    /// Words about the sender's own request; only a matched agent is told any (law 8).
    pub description: Option<String>,
    /// What was wrong with the proof, in words of hallpass alone: for the event and the log, never for the sender.
    pub detail: Option<Cow<'static, str>>,
    /// When another try makes sense.
    pub retry_after: Option<Duration>,
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self { reason, description: None, detail: None, retry_after: None }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { description: Some(refusal.description), ..refusal.reason.into() }
    }
}

impl Broker {
    pub fn new(parts: Parts) -> Self {
        let keys = Arc::new(parts.keys);
        let audit = AuditLog::new(parts.store.clone(), Arc::clone(&keys), parts.log);
        let keys = SigningKeys::new(keys, parts.store.clone());
        Self {
            name: parts.name,
            issuer: parts.issuer.as_str().into(),
            rules: InForce::new(parts.rules),
            dpop: parts.dpop,
            store: parts.store,
            kill_switch: parts.kill_switch,
            keys,
            audit: Arc::new(audit),
            metrics: Metrics::new(),
            clock_watch: ClockWatch::default(),
            start: Start::default(),
            drills: Drills::default(),
            lifting: Arc::default(),
            tending: Arc::default(),
            probing: Arc::default(),
            nodes: Nodes::default(),
            started_at: parts.clock.now(),
            clock: parts.clock,
            random: parts.random,
        }
    }

    /// `iss` of every token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audit log, for whoever reads it.
    pub fn audit(&self) -> &Arc<AuditLog> {
        &self.audit
    }

    /// Whether SVIDs can be proofs here.
    pub fn knows_trust_domains(&self) -> bool {
        self.rules.policy().trust_domains > 0
    }

    /// What the next DPoP proof has to bring, where `[token] dpop_nonce` demands nonces (RFC 9449 §8).
    pub fn dpop_nonce(&self) -> Option<String> {
        self.dpop.nonce(self.now())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh id for one call.
    pub fn call(&self, peer: IpAddr) -> Result<Call, Denied> {
        let random = self.random.for_id().map_err(|_| Reason::Internal)?;
        Ok(Call { request: RequestId::new(self.now(), &random), peer })
    }

    fn event(&self, kind: Kind, outcome: Outcome, call: Option<&Call>) -> Event {
        let mut event = Event::new(self.now(), kind, outcome);
        event.request = call.map(|call| call.request);
        event.peer = call.map(|call| call.peer);
        event
    }
}
