//! The live kill switch: what is stopped now, for every node at once.
//!
//! It promises that no stop is ever forgotten (laws 2 to 5): standings are merged and never
//! removed before they are spent, an authority that may have lost some is not asked before the durable store's book was
//! merged into it, and whatever cannot be understood is an error, never «not stopped».
//!
//! The store numbers the changes; the authority says up to which number it holds every one. Whoever is behind learns:
//! [`Revocation::push`] gives the authority what it lacks, [`RevocationError::Ahead`] tells a store that it lacks what
//! the authority holds.
//!
//! [`Revocation::ask`] asks the authority itself and is exact: issuance uses it.
//! [`Revocation::view`] looks at this node's own copy, at most `max_staleness` old: checks use it.
//! `broker` is the one caller; it writes the durable store first.

mod address;
mod error;
mod memory;
mod once;
mod redis;
pub mod settings;
mod source;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use self::error::{RevocationError, Stale, Status};
pub use self::memory::Memory;
pub use self::redis::Redis;
use self::redis::push::How;
use self::settings::{Backend, RevocationSettings};
pub use self::source::{Source, UnnumberedStop};
use crate::domain::digest::Digest;
use crate::domain::id::{AgentId, BrokerName, StopId};
use crate::domain::revocation::{Book, Levels, Point, Revision, Target};
use crate::domain::time::{Clock, Timestamp};

/// The kill switch of this node, shared as `Arc<Revocation>`.
#[derive(Debug)]
pub enum Revocation {
    Memory(Memory),
    Redis(Box<Redis>),
}

/// A change that the authority has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The number of the change; none of one that the store has not numbered.
    pub revision: Option<Revision>,
    /// The uninterrupted life of the authority, and which of its writes it was.
    place: (Arc<str>, u64),
    /// When the change was sent there: nobody can have seen it before.
    sent: Instant,
    /// The number of the connection over which it was sent.
    session: u64,
}

impl Applied {
    /// The same of a change without a number: what was seen before it was sent proves nothing.
    #[must_use]
    pub fn without_number(self) -> Self {
        Self { revision: None, ..self }
    }
}

/// Which nodes refuse by a change. One that has not reported for 60 s is in neither list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confirmations {
    /// Sorted; this node is always among them.
    pub confirmed: Vec<BrokerName>,
    /// Sorted.
    pub pending: Vec<BrokerName>,
    /// When this node first knew of each that has confirmed; nothing where nobody could be asked.
    pub heard: HashMap<BrokerName, Instant>,
}

impl Revocation {
    /// Connects, within 250 ms. An unreachable Redis is no failure: it is tried again in the background. `origin` is the
    /// store's, to which the authority belongs.
    ///
    /// # Errors
    /// [`RevocationError::Settings`] for what can never work: a URL or a `ca_file` that makes no sense.
    /// [`RevocationError::OtherStore`] where it serves another store.
    pub async fn connect(
        settings: &RevocationSettings,
        node: BrokerName,
        origin: &str,
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        Self::connect_to(settings, node, (origin, false), clock).await
    }

    /// The same for a store that goes on in the place of one whose keys are lost: the authority of a store of the same name
    /// is its own from then on.
    ///
    /// # Errors
    /// As [`Revocation::connect`]; [`RevocationError::Unreachable`] where nobody can tell whose the authority is.
    pub async fn inherit(
        settings: &RevocationSettings,
        node: BrokerName,
        origin: &str,
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        Self::connect_to(settings, node, (origin, true), clock).await
    }

    async fn connect_to(
        settings: &RevocationSettings,
        node: BrokerName,
        origin: (&str, bool),
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        match &settings.backend {
            Backend::Memory => Ok(Self::Memory(Memory::new(node, settings.max_staleness, clock))),
            Backend::Redis(to) => {
                let redis = Redis::connect(to, settings.max_staleness, node, origin, clock).await?;
                Ok(Self::Redis(Box::new(redis)))
            }
        }
    }

    /// What the authority says now: a book in which everything about `levels` is. One round trip, or two where this
    /// node's view is behind.
    ///
    /// # Errors
    /// [`RevocationError::Amnesia`] when it must be refilled by [`Revocation::push`] first; any other: nothing is known.
    pub async fn ask(&self, levels: &Levels) -> Result<Arc<Book>, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.known()),
            Self::Redis(redis) => redis.ask(levels).await,
        }
    }

    /// Wants the authority refilled, which the follower does, once for all who want it. Waits until it may be asked again,
    /// but no longer than `patience` after the refill began: whoever comes later need not wait at all.
    pub async fn refilled(&self, patience: Duration) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(redis) => redis.refilled(patience).await,
        }
    }

    /// Gives the authority every change of the source's book that it lacks, and what this node knows besides. Never
    /// un-stops: of two standings of a target the later holds.
    ///
    /// # Errors
    /// [`RevocationError::Ahead`] when the authority holds changes that are not in the source's history;
    /// [`RevocationError::Broken`] when it holds what cannot be read. Nothing was written then.
    pub async fn push(&self, source: &impl Source) -> Result<Applied, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.applied(source).await),
            Self::Redis(redis) => redis.push(source, How::IfNeeded).await,
        }
    }

    /// The same, into an authority of another history, which the source has taken over up to `theirs`.
    ///
    /// # Errors
    /// As [`Revocation::push`].
    pub async fn push_over(&self, source: &impl Source, theirs: Point) -> Result<Applied, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.applied(source).await),
            Self::Redis(redis) => redis.push(source, How::Over(theirs)).await,
        }
    }

    /// A stop that had no number has one in the source now: the next push says so.
    pub fn note_numbered(&self, target: Target, id: StopId) {
        if let Self::Redis(redis) = self {
            redis.note_numbered(target, id);
        }
    }

    /// Which nodes have applied a change; waits for those that have not up to `patience`.
    ///
    /// # Errors
    /// When the authority cannot say it; the change itself is not undone by that.
    pub async fn confirmations(
        &self,
        applied: &Applied,
        patience: Duration,
    ) -> Result<Confirmations, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.confirmations()),
            Self::Redis(redis) => redis.confirmations(applied, patience).await,
        }
    }

    /// The nodes that were alive lately, when none of them can be asked: this one has confirmed, the others are pending.
    pub fn unconfirmed(&self) -> Confirmations {
        match self {
            Self::Memory(memory) => memory.confirmations(),
            Self::Redis(redis) => redis.unconfirmed(),
        }
    }

    /// This node's own view. No I/O.
    ///
    /// # Errors
    /// [`Stale`] when the view is older than `max_staleness`.
    pub fn view(&self) -> Result<Arc<Book>, Stale> {
        match self {
            Self::Memory(memory) => Ok(memory.known()),
            Self::Redis(redis) => redis.view(),
        }
    }

    /// The same, however old the view is: what it holds is stopped, whatever else may be. No I/O.
    pub fn known(&self) -> Arc<Book> {
        match self {
            Self::Memory(memory) => memory.known(),
            Self::Redis(redis) => redis.known(),
        }
    }

    /// The age of the view: how long ago the authority was asked the last question that brought it up to date.
    pub fn view_age(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::ZERO,
            Self::Redis(redis) => redis.view_age(),
        }
    }

    /// The name of this node.
    pub fn node(&self) -> &BrokerName {
        match self {
            Self::Memory(memory) => &memory.node,
            Self::Redis(redis) => &redis.node,
        }
    }

    /// Whoever judges by an older view refuses.
    pub fn max_staleness(&self) -> Duration {
        match self {
            Self::Memory(memory) => memory.max_staleness,
            Self::Redis(redis) => redis.max_staleness,
        }
    }

    /// Tells the other nodes what an enforcement point outside has reported here. There is no other node without Redis.
    ///
    /// # Errors
    /// When the authority cannot take it.
    pub async fn note_follower(&self, name: &str, report: &str) -> Result<(), RevocationError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => redis.note_follower(name, report).await,
        }
    }

    /// What enforcement points outside have reported to any node.
    ///
    /// # Errors
    /// When the authority cannot say it.
    pub async fn followers(&self) -> Result<HashMap<String, String>, RevocationError> {
        match self {
            Self::Memory(_) => Ok(HashMap::new()),
            Self::Redis(redis) => redis.followers().await,
        }
    }

    /// Removes the reports of enforcement points that have gone.
    ///
    /// # Errors
    /// When the authority cannot take it.
    pub async fn forget_followers(&self, names: &[String]) -> Result<(), RevocationError> {
        match self {
            Self::Redis(redis) if !names.is_empty() => redis.forget_followers(names).await,
            _ => Ok(()),
        }
    }

    /// Tells the other nodes `facts` about this one, and gives what every node told, by name. There is no other node
    /// without Redis.
    ///
    /// # Errors
    /// When the authority cannot take it.
    pub async fn exchange_facts(&self, facts: &str) -> Result<HashMap<String, String>, RevocationError> {
        match self {
            Self::Memory(_) => Ok(HashMap::new()),
            Self::Redis(redis) => redis.exchange_facts(facts).await,
        }
    }

    /// Removes what nodes told that have gone.
    ///
    /// # Errors
    /// When the authority cannot take it.
    pub async fn forget_facts(&self, nodes: &[String]) -> Result<(), RevocationError> {
        match self {
            Self::Redis(redis) if !nodes.is_empty() => redis.forget_facts(nodes).await,
            _ => Ok(()),
        }
    }

    /// How long the authority takes to answer; `None` where it is this process.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn latency(&self) -> Result<Option<Duration>, RevocationError> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::Redis(redis) => redis.latency().await.map(Some),
        }
    }

    /// Whether this node remembers that `agent` used `key` up. Asks nobody.
    pub fn was_used(&self, agent: &AgentId, key: &Digest) -> bool {
        match self {
            Self::Memory(memory) => memory.once.is_used(agent, key),
            Self::Redis(redis) => redis.once.is_used(agent, key),
        }
    }

    /// Uses `key` up for `agent`: true the first time, false again until `until`, on every node of one Redis.
    /// Two agents' keys have nothing to do with each other.
    ///
    /// # Errors
    /// [`RevocationError::Full`] where the agent has used up as much as is remembered for one. Any other when it
    /// cannot be known. The proof must be refused then.
    pub async fn use_once(
        &self,
        agent: &AgentId,
        key: Digest,
        until: Timestamp,
    ) -> Result<bool, RevocationError> {
        match self {
            Self::Memory(memory) => memory.use_once(agent, key, until),
            Self::Redis(redis) => redis.use_once(agent, key, until).await,
        }
    }

    /// Keeps view and authority up to date and reports what this node has seen, until `shutdown` holds true or its
    /// sender is gone; then takes this node off the list of those that confirm. Run it once, for as long as the node
    /// serves.
    pub async fn follow(&self, mut shutdown: watch::Receiver<bool>, source: &impl Source) {
        match self {
            Self::Memory(_) => ended(&mut shutdown).await,
            Self::Redis(redis) => redis.follow(shutdown, source).await,
        }
    }

    /// Everything that the authority holds, for a source that has to take it over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(&self) -> Result<Book, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(Book::clone(&memory.known())),
            Self::Redis(redis) => redis.load().await,
        }
    }

    /// The nodes that are alive and work on a copy of the store, and not on this opening of it.
    ///
    /// # Errors
    /// When the authority cannot say it.
    pub async fn other_copies(&self, instance: &str) -> Result<Vec<BrokerName>, RevocationError> {
        match self {
            Self::Memory(_) => Ok(Vec::new()),
            Self::Redis(redis) => redis.other_copies(instance).await,
        }
    }

    /// Whether the authority can be used, as far as is known without asking it.
    pub fn usable(&self) -> bool {
        !matches!(self.status(), Status::Unusable(_))
    }

    pub fn status(&self) -> Status {
        match self {
            Self::Memory(_) => Status::Usable,
            Self::Redis(redis) => redis.status(),
        }
    }
}

/// The time since the machine started, which goes on while it sleeps and which nobody can set.
pub fn since_machine_start() -> Duration {
    view::SinceStart::now().time()
}

/// Waits until `shutdown` holds true or nobody can set it any more.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // An error is a sender that is gone: nobody would ever end the task.
    let _ = shutdown.wait_for(|end| *end).await;
}
