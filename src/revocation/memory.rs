//! `memory:`, for one broker: its own view is the authority. It is empty after a start, so it too must
//! be refilled from the store before it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::digest::Digest;
use crate::domain::id::{AgentId, BrokerName};
use crate::domain::revocation::{Levels, Standing, StopBook, Target, Verdict};
use crate::domain::time::{Clock, Timestamp};
use crate::revocation::once::{Moment, Once};
use crate::revocation::view::View;
use crate::revocation::{Confirmations, Revision, RevocationError, Stale, Status, ended};

#[derive(Debug)]
pub struct Memory {
    broker: BrokerName,
    clock: Clock,
    view: View,
    revision: AtomicU64,
    filled: AtomicBool,
    once: Once,
}

impl Memory {
    pub(super) fn new(broker: BrokerName, clock: Clock) -> Self {
        Self {
            broker,
            view: View::new(clock.clone()),
            clock,
            revision: AtomicU64::new(0),
            filled: AtomicBool::new(false),
            once: Once::default(),
        }
    }

    pub(super) fn ask(&self, levels: &Levels) -> Result<Verdict, RevocationError> {
        if !self.filled.load(Ordering::Acquire) {
            return Err(RevocationError::Amnesia);
        }
        Ok(self.view.verdict(levels))
    }

    pub(super) fn refill(&self, book: &StopBook) {
        self.view.learn(book.iter());
        self.filled.store(true, Ordering::Release);
    }

    pub(super) fn apply(&self, target: &Target, standing: Standing) -> Revision {
        self.view.learn([(target, &standing)]);
        let number = self.revision.fetch_add(1, Ordering::AcqRel) + 1;
        Revision { number, epoch: "memory".into(), sent: Instant::now() }
    }

    pub(super) fn confirmations(&self) -> Confirmations {
        Confirmations { confirmed: vec![self.broker.clone()], pending: Vec::new() }
    }

    pub(super) fn view(&self, levels: &Levels) -> Result<Verdict, Stale> {
        self.ask(levels).map_err(|_| Stale { age: self.view_age() })
    }

    pub(super) fn known(&self, levels: &Levels) -> Verdict {
        self.view.verdict(levels)
    }

    pub(super) fn view_age(&self) -> Duration {
        if self.filled.load(Ordering::Acquire) { Duration::ZERO } else { Duration::MAX }
    }

    pub(super) fn use_once(
        &self,
        agent: &AgentId,
        key: Digest,
        until: Timestamp,
    ) -> Result<bool, RevocationError> {
        self.once.use_up(agent, key, until, Moment::now(&self.clock))
    }

    pub(super) async fn follow(&self, mut shutdown: watch::Receiver<bool>, book: impl Fn() -> Arc<StopBook>) {
        self.refill(&book());
        ended(&mut shutdown).await;
    }

    pub(super) fn status(&self) -> Status {
        if self.filled.load(Ordering::Acquire) { Status::Usable } else { Status::Unfilled }
    }
}
