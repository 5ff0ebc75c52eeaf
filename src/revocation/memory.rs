//! `memory:`, for one node: the store's own book is the authority, so there is nothing to keep here but which
//! assertions were used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::digest::Digest;
use crate::domain::id::{AgentId, BrokerName};
use crate::domain::revocation::Book;
use crate::domain::time::{Clock, Timestamp};
use crate::revocation::once::{Moment, Once};
use crate::revocation::{Applied, Confirmations, RevocationError, Source};

#[derive(Debug)]
pub struct Memory {
    pub(super) node: BrokerName,
    clock: Clock,
    pub(super) max_staleness: Duration,
    /// Knows nothing that the store does not.
    book: Arc<Book>,
    pub(super) once: Once,
}

impl Memory {
    pub(super) fn new(node: BrokerName, max_staleness: Duration, clock: Clock) -> Self {
        Self { node, clock, max_staleness, book: Arc::default(), once: Once::default() }
    }

    pub(super) fn known(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    pub(super) async fn applied(&self, source: &impl Source) -> Applied {
        let revision = source.book().await.ok().map(|book| book.revision());
        Applied { revision, place: ("memory".into(), 0), sent: Instant::now(), session: 0 }
    }

    pub(super) fn confirmations(&self) -> Confirmations {
        let heard = [(self.node.clone(), Instant::now())].into();
        Confirmations { confirmed: vec![self.node.clone()], pending: Vec::new(), heard }
    }

    pub(super) fn use_once(
        &self,
        agent: &AgentId,
        key: Digest,
        until: Timestamp,
    ) -> Result<bool, RevocationError> {
        self.once.use_up(agent, key, until, Moment::now(&self.clock))
    }
}
