//! The live kill switch: what is stopped now, for every broker at once.
//!
//! It promises that no stop is ever forgotten (DESIGN §4, laws 2 to 5): standings are merged and never
//! removed, an authority that may have lost some is not asked before the durable store's book was merged
//! into it, and whatever cannot be understood is an error, never «not stopped».
//!
//! [`Revocation::ask`] asks the authority itself and is exact: issuance uses it.
//! [`Revocation::view`] looks at this broker's own copy, at most `max_staleness` old: checks use it.
//! `broker` is the one caller; it writes the durable store first, and refills from it when told
//! [`RevocationError::Amnesia`].

mod memory;
mod once;
mod redis;
pub mod settings;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::digest::Digest;
use crate::domain::id::{AgentId, BrokerName};
use crate::domain::revocation::{Levels, Standing, StopBook, Target, Verdict};
use crate::domain::time::{Clock, Timestamp};

pub use self::memory::Memory;
pub use self::redis::Redis;
use self::settings::{Backend, RevocationSettings};

/// The kill switch of this broker, shared as `Arc<Revocation>`.
#[derive(Debug)]
pub enum Revocation {
    Memory(Memory),
    Redis(Redis),
}

/// The number of a change, which grows with each. Only what one authority counted can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    number: u64,
    /// The uninterrupted life of the authority that counted it.
    epoch: Arc<str>,
    /// When the change was sent there: no broker can have reported it before.
    sent: Instant,
}

impl Revision {
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// Which brokers refuse by a change. One that has not reported for 60 s is in neither list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confirmations {
    /// Sorted; this broker is always among them.
    pub confirmed: Vec<BrokerName>,
    /// Sorted.
    pub pending: Vec<BrokerName>,
}

/// The local view is too old to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the view of revocations is {} ms old", age.as_millis())]
pub struct Stale {
    /// [`Duration::MAX`] where there never was a view.
    pub age: Duration,
}

/// For readiness: whether the authority itself can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Usable,
    /// It answers, but waits for [`Revocation::refill`]; a call that gets `Amnesia` does it.
    Unfilled,
    /// It cannot be asked, and why.
    Unusable(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Unfilled => f.write_str("not refilled from the store yet"),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The authority did not answer in time, or refused to.
    #[error("the revocation store is unreachable: {0}")]
    Unreachable(String),
    /// The authority may have forgotten: refill it, then ask again.
    #[error("the revocation store may have forgotten stops and must be refilled")]
    Amnesia,
    /// The authority holds something that is none of ours.
    #[error("the revocation store holds what hallpass did not write: {0}")]
    Broken(String),
    #[error("{0}")]
    Settings(String),
    /// One agent has used up as many proofs as are remembered for one.
    #[error("as many unexpired proofs as may be are remembered for this agent")]
    Full,
}

impl Revocation {
    /// Connects, within 250 ms. An unreachable Redis is no failure: it is tried again in the background.
    ///
    /// # Errors
    /// [`RevocationError::Settings`] for what can never work: a URL or a `ca_file` that makes no sense.
    pub async fn connect(
        settings: &RevocationSettings,
        broker: BrokerName,
        clock: Clock,
    ) -> Result<Self, RevocationError> {
        match &settings.backend {
            Backend::Memory => Ok(Self::Memory(Memory::new(broker, clock))),
            Backend::Redis { .. } => Ok(Self::Redis(Redis::connect(settings, broker, clock).await?)),
        }
    }

    /// What the authority says now of `levels`, joined with what this broker knows itself. One round trip, or two
    /// where this broker's view is behind.
    ///
    /// # Errors
    /// [`RevocationError::Amnesia`] when it must be refilled first; any other: nothing is known.
    pub async fn ask(&self, levels: &Levels) -> Result<Verdict, RevocationError> {
        match self {
            Self::Memory(memory) => memory.ask(levels),
            Self::Redis(redis) => redis.ask(levels).await,
        }
    }

    /// Merges the durable store's book into the authority, which is trusted from then on.
    /// Never un-stops: of two standings of a target the later holds.
    ///
    /// # Errors
    /// [`RevocationError::Broken`] when the authority holds a standing that cannot be read, and nothing was written.
    pub async fn refill(&self, book: &StopBook) -> Result<(), RevocationError> {
        match self {
            Self::Memory(memory) => {
                memory.refill(book);
                Ok(())
            }
            Self::Redis(redis) => redis.refill(book).await,
        }
    }

    /// Applies a stop or a lift, to this broker's own view first. Its view keeps it even when this fails.
    ///
    /// # Errors
    /// [`RevocationError::Amnesia`] when the authority must be refilled first: it wrote nothing; apply again after.
    pub async fn apply(&self, target: &Target, standing: Standing) -> Result<Revision, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.apply(target, standing)),
            Self::Redis(redis) => redis.apply(target, standing).await,
        }
    }

    /// Which brokers have applied `revision`; waits for those that have not up to `patience`.
    ///
    /// # Errors
    /// When the authority cannot say it; the change itself is not undone by that.
    pub async fn confirmations(
        &self,
        revision: &Revision,
        patience: Duration,
    ) -> Result<Confirmations, RevocationError> {
        match self {
            Self::Memory(memory) => Ok(memory.confirmations()),
            Self::Redis(redis) => redis.confirmations(revision, patience).await,
        }
    }

    /// What this broker's own view says of `levels`. No I/O.
    ///
    /// # Errors
    /// [`Stale`] when the view is older than `max_staleness`.
    pub fn view(&self, levels: &Levels) -> Result<Verdict, Stale> {
        match self {
            Self::Memory(memory) => memory.view(levels),
            Self::Redis(redis) => redis.view(levels),
        }
    }

    /// The same, however old the view is: what it holds is stopped, whatever else may be. No I/O.
    pub fn known(&self, levels: &Levels) -> Verdict {
        match self {
            Self::Memory(memory) => memory.known(levels),
            Self::Redis(redis) => redis.known(levels),
        }
    }

    /// The age of the view: how long ago the authority was asked the last question that brought it up to date.
    pub fn view_age(&self) -> Duration {
        match self {
            Self::Memory(memory) => memory.view_age(),
            Self::Redis(redis) => redis.view_age(),
        }
    }

    /// Uses `key` up for `agent`: true the first time, false again until `until`, on every broker of one Redis.
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

    /// Keeps the view up to date and reports what it has seen, until `shutdown` holds true or its sender is
    /// gone; then takes this broker off the list of those that confirm. Run it once, for as long as the
    /// broker serves. `book` gives the durable store's current book, for a refill.
    pub async fn follow(
        &self,
        shutdown: watch::Receiver<bool>,
        book: impl Fn() -> Arc<StopBook> + Send + Sync,
    ) {
        match self {
            Self::Memory(memory) => memory.follow(shutdown, book).await,
            Self::Redis(redis) => redis.follow(shutdown, book).await,
        }
    }

    /// Whether the authority answers, as far as is known without asking it.
    pub fn usable(&self) -> bool {
        !matches!(self.status(), Status::Unusable(_))
    }

    pub fn status(&self) -> Status {
        match self {
            Self::Memory(memory) => memory.status(),
            Self::Redis(redis) => redis.status(),
        }
    }
}

/// Waits until `shutdown` holds true or nobody can set it any more.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // An error is a sender that is gone: nobody would ever end the task.
    let _ = shutdown.wait_for(|end| *end).await;
}
