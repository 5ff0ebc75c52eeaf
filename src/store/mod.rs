//! What must outlive the process: the audit log, the stops, the sealed keys.
//!
//! It promises that whatever it says is recorded is on disk (`synchronous=FULL`), that the events have
//! one total order without gaps, that a stop and its event are recorded together or not at all, and
//! that no issuance is ordered after a stop that covers it. When it cannot keep a promise it says so
//! and records nothing, and it recovers by itself once the cause is gone.
//!
//! [`Store`] is the broker's, the only writer. [`Reader`] reads beside it, for `hallpass audit`, and
//! recomputes the whole log. One folder holds one backend; what can be written is one enum, `write.rs`, and what
//! is recomputed of any backend is in `verify/`.

mod backup;
mod error;
mod head;
mod in_force;
mod postgres;
mod reader;
mod record;
pub mod settings;
mod spool;
mod sqlite;
mod tables;
mod verify;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

pub use activity::{Activity, Reach};
pub use backup::{Restored, back_up, restore, stamp};
pub use error::StoreError;
pub use reader::Reader;
pub use settings::{Missing, StoreSettings};
pub use spool::{MAX_ENDS, Spool, WaitingChange};
pub use verify::{Difference, Differences, Verified, VerifyError};
pub use write::{Adoption, Head, Issuance, LiftOutcome, Recorded};

use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::{AgentId, IssuerName, StopId, TokenId};
use crate::domain::revocation::{Book, Levels, Lift, Revision, Stop, Target};
use crate::domain::signing::SealedKey;
use crate::domain::time::Timestamp;
use postgres::Postgres;
use sqlite::Sqlite;
use tables::sql::Sql;
use tables::{activity, again, events, keys, meta, related, stops, tip, tree};
use write::{Write, Written};

/// The durable store. Clones share it.
#[derive(Debug, Clone)]
pub enum Store {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Runs the same call on whichever backend there is.
macro_rules! backend {
    ($store:expr, $backend:ident => $call:expr) => {
        match $store {
            Store::Sqlite($backend) => $call,
            Store::Postgres($backend) => $call,
        }
    };
}

impl Store {
    /// Opens the store for writing and makes it where there is none: folders 0700, files 0600.
    ///
    /// # Errors
    /// `Locked` while another broker writes to it, `Newer` or `Foreign` for a file that is not of this
    /// version, `Damaged` where the ends of the log contradict each other, `Lost` for one that is gone while what was made
    /// beside it is there, `File` for the rest; `Unavailable` for a new database that cannot be made. One that is there
    /// and cannot be written is opened with a [fault](Self::fault).
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::open_or(settings, Missing::Refuse).await
    }

    /// The same, and says what to do where the database is gone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_or(settings: &StoreSettings, missing: Missing) -> Result<Self, StoreError> {
        match settings {
            StoreSettings::Sqlite { path } => Ok(Self::Sqlite(Sqlite::open(path, missing).await?)),
            StoreSettings::Postgres(settings) => Ok(Self::Postgres(Postgres::open(settings).await?)),
        }
    }

    /// Off the runtime, on one state of the store.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        backend!(self, store => store.read(read).await)
    }

    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        backend!(self, store => store.queue().write(write).await)
    }

    /// Records an event and gives its `seq` once it is durable.
    ///
    /// # Errors
    /// `Misplaced` for the kinds that have functions of their own; `Busy`, `Unavailable`.
    pub async fn append(&self, event: Event) -> Result<u64, StoreError> {
        match self.write(Write::Event(self.by_itself(event)?)).await? {
            Written::Event(seq) => Ok(seq),
            other => Err(unexpected(&other)),
        }
    }

    /// Records a `token.issued` event, unless the levels, which hold the token and the revision that it was decided
    /// at, are dead by the stops as committed.
    ///
    /// # Errors
    /// `Misplaced` for an event of another kind; `Busy`, `Unavailable`: the token must not be released.
    pub async fn append_issuance(&self, event: Event, levels: Arc<Levels>) -> Result<Issuance, StoreError> {
        expect(&event, Kind::TokenIssued)?;
        match self.write(Write::Issuance { event, levels }).await? {
            Written::Issuance(issuance) => Ok(issuance),
            other => Err(unexpected(&other)),
        }
    }

    /// Records a stop and its event together, and gives it its number. What the event says of `at`, `target`,
    /// `stop`, `reason` and `operator` is taken from the stop. Where the target is stopped already, that stop is
    /// given, and the event recorded as it is. A stop whose id is known is not recorded again.
    ///
    /// # Errors
    /// `Misplaced` for an event that is not `revocation.stopped`; `Busy`, `Unavailable`.
    pub async fn stop(&self, stop: Stop, event: Event) -> Result<Stop, StoreError> {
        expect(&event, Kind::RevocationStopped)?;
        match self.write(Write::Stop { stop, event }).await? {
            Written::Stop(stop) => Ok(stop),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends a stop and records its event together. What the event says of `kind`, `at`, `target`, `stop`, `reason`
    /// and `operator` is taken from the lift.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    pub async fn lift(&self, id: StopId, lift: Lift, event: Event) -> Result<LiftOutcome, StoreError> {
        match self.write(Write::Lift { id, lift, event }).await? {
            Written::Lift(lifted) => Ok(lifted),
            other => Err(unexpected(&other)),
        }
    }

    /// Records that the holder of `token` ended it, and gives the change's number. One that has ended already is not
    /// recorded again.
    ///
    /// # Errors
    /// `Misplaced` for an event that is not `revocation.stopped`; `Busy`, `Unavailable`.
    pub async fn end(&self, token: TokenId, event: Event) -> Result<Revision, StoreError> {
        expect(&event, Kind::RevocationStopped)?;
        match self.write(Write::End { token, event }).await? {
            Written::End(revision) => Ok(revision),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes over what another authority remembers of a history that this store has lost.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    pub async fn adopt(&self, adoption: Adoption) -> Result<(), StoreError> {
        self.write(Write::Adopt(Box::new(adoption))).await.map(drop)
    }

    /// Which opening of the store this is: another for each process, and for each copy of the files.
    pub fn instance(&self) -> String {
        backend!(self, store => store.instance())
    }

    /// Reads the stops from the disk again, whatever was in memory.
    ///
    /// # Errors
    /// `Damaged` where they are not what the head says; `Busy`, `Unavailable`.
    pub async fn reread(&self) -> Result<(), StoreError> {
        self.write(Write::Reread).await.map(drop)
    }

    /// Every committed change that can still tell something.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be known.
    pub async fn book(&self) -> Result<Arc<Book>, StoreError> {
        self.refresh().await?;
        Ok(self.seen())
    }

    /// Learns what other nodes have written. Nobody else writes to a file.
    async fn refresh(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(store) => store.queue().refresh().await,
        }
    }

    /// The same as far as this process has seen it, without asking anybody.
    pub fn seen(&self) -> Arc<Book> {
        backend!(self, store => store.published().book())
    }

    /// Which change of this history had the number: the leaf hash of its event. None where none has it.
    pub async fn mark(&self, revision: Revision) -> Result<Option<Digest>, StoreError> {
        self.read(move |sql| stops::mark(sql, revision)).await
    }

    /// The stops, newest first.
    pub async fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        self.read(move |sql| stops::list(sql, active_only)).await
    }

    /// One stop; none where there is no such id.
    pub async fn stop_of(&self, id: StopId) -> Result<Option<Stop>, StoreError> {
        self.read(move |sql| stops::by_id(sql, id)).await
    }

    /// Whether the stop `id` is in the log: it began, or its target was stopped already.
    pub async fn knows_stop(&self, id: StopId) -> Result<bool, StoreError> {
        self.read(move |sql| {
            let began = stops::by_id(sql, id)?.is_some();
            Ok(began || again::in_place_of(sql, tip::read_head(sql)?.size, id)?.is_some())
        })
        .await
    }

    /// The events that the filter means, newest first: at most `limit`, with a `seq` below `before`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let filter = filter.clone();
        self.read(move |sql| events::find(sql, &filter, limit, before)).await
    }

    /// The event of the token's issuance.
    pub async fn token(&self, id: TokenId) -> Result<Option<Recorded>, StoreError> {
        self.read(move |sql| events::issuance(sql, id)).await
    }

    /// What each of these agents has had issued, and how many of its tokens live at `now` by these books.
    pub async fn activity(
        &self,
        agents: &[AgentId],
        books: Vec<Arc<Book>>,
        now: Timestamp,
    ) -> Result<HashMap<AgentId, Activity>, StoreError> {
        let agents = agents.to_vec();
        self.read(move |sql| activity::of_agents(sql, agents, &books, now)).await
    }

    /// The issuances of an agent's tokens that live at `now` by these books: the newest `limit`, the newest first.
    pub async fn live_tokens(
        &self,
        agent: &AgentId,
        books: Vec<Arc<Book>>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let agent = agent.clone();
        self.read(move |sql| activity::of_agent(sql, &agent, &books, now, limit)).await
    }

    /// Whether a token was ever issued by a proof of `issuer`.
    pub async fn was_issued_by(&self, issuer: &IssuerName) -> Result<bool, StoreError> {
        let issuer = issuer.clone();
        self.read(move |sql| related::was_issued_by(sql, &issuer)).await
    }

    /// What a stop of `target` at `now` would hit.
    pub async fn reach(&self, target: &Target, now: Timestamp) -> Result<Reach, StoreError> {
        let (target, book) = (target.clone(), self.seen());
        self.read(move |sql| activity::reach(sql, &target, &[book], now)).await
    }

    /// How far the log is committed.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be known.
    pub async fn head(&self) -> Result<Head, StoreError> {
        self.refresh().await?;
        Ok(self.seen_head())
    }

    /// The same as far as this process has seen it.
    pub fn seen_head(&self) -> Head {
        backend!(self, store => store.published().head())
    }

    pub async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        if let Some(at_rest) = backend!(self, store => store.published().at_rest()) {
            return Ok(at_rest.keys.clone());
        }
        self.read(keys::list).await
    }

    /// Keeps a key, in place of one with the same `kid`, together with an event that says which it is.
    ///
    /// # Errors
    /// `Misplaced` for an event of a kind that has a function of its own; `Busy`, `Unavailable`.
    pub async fn put_key(&self, key: SealedKey, event: Event) -> Result<(), StoreError> {
        let event = self.by_itself(event)?;
        self.write(Write::PutKey { key, event }).await.map(drop)
    }

    /// Forgets a key, together with an event about it; no error where there is none.
    ///
    /// # Errors
    /// As [`Store::put_key`].
    pub async fn remove_key(&self, kid: &str, event: Event) -> Result<(), StoreError> {
        let event = self.by_itself(event)?;
        self.write(Write::RemoveKey { kid: kid.to_owned(), event }).await.map(drop)
    }

    /// The log's origin, once it has one.
    pub async fn origin(&self) -> Result<Option<String>, StoreError> {
        if let Some(at_rest) = backend!(self, store => store.published().at_rest()) {
            return Ok(at_rest.origin.clone());
        }
        self.read(|sql| meta::get(sql, "origin")).await
    }

    /// Gives the log its origin for ever, and says which it has: an earlier one stays. Where no event has told of it,
    /// this one does, and of every key that is in the store.
    ///
    /// # Errors
    /// `Misplaced` for an event that is not `log.named`; `Busy`, `Unavailable`.
    pub async fn set_origin(&self, origin: &str, event: Event) -> Result<String, StoreError> {
        expect(&event, Kind::LogNamed)?;
        match self.write(Write::SetOrigin { origin: origin.to_owned(), event }).await? {
            Written::Origin(origin) => Ok(origin),
            other => Err(unexpected(&other)),
        }
    }

    /// The audit path of an event in the log of `size` events (RFC 6962 §2.1.1), lowest first.
    ///
    /// # Errors
    /// `OutOfRange` for a `seq` or size that the log has not; `Unavailable`.
    pub async fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(move |sql| tree::inclusion_proof(sql, seq, size)).await
    }

    /// The proof that the log of `second` events extends that of `first` (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// `OutOfRange` unless 0 < `first` ≤ `second` ≤ the log's size; `Unavailable`.
    pub async fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(move |sql| tree::consistency_proof(sql, first, second)).await
    }

    /// Whether the last write succeeded and the files are in place.
    pub fn healthy(&self) -> bool {
        self.fault().is_none()
    }

    /// Why nothing can be recorded, while that is so.
    pub fn fault(&self) -> Option<Arc<StoreError>> {
        backend!(self, store => store.published().fault())
    }

    /// Holds the writer, as a disk does that stalls, until the sender is dropped.
    #[cfg(test)]
    pub(crate) fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (go, wait) = std::sync::mpsc::channel();
        let stalled: tables::queue::RawJob = Box::new(move |_| {
            // Ends when the sender is dropped.
            let _dropped: Result<(), _> = wait.recv();
            Ok(())
        });
        let store = self.clone();
        tokio::spawn(async move { backend!(&store, store => store.queue().run_raw(stalled).await) });
        go
    }

    /// An event that is recorded without anything that must hold at the same moment. It says up to which change the kill
    /// switch was known, so that whoever removes a later part of the log's stops contradicts it.
    fn by_itself(&self, event: Event) -> Result<Event, StoreError> {
        match event.kind {
            Kind::TokenIssued
            | Kind::RevocationStopped
            | Kind::RevocationLifted
            | Kind::StoreRestored
            | Kind::LogNamed => Err(StoreError::Misplaced(event.kind)),
            _ => Ok(Event { as_of: event.as_of.or_else(|| Some(self.seen().revision())), ..event }),
        }
    }

    /// Finishes every write that was queued and gives the store up. Calls on other clones fail from then on.
    pub async fn close(self) {
        backend!(self, store => store.queue().close().await);
    }
}

fn expect(event: &Event, kind: Kind) -> Result<(), StoreError> {
    if event.kind == kind { Ok(()) } else { Err(StoreError::Misplaced(event.kind)) }
}

/// A backend that answers a write with what belongs to another is broken; nothing may rely on it.
fn unexpected(written: &Written) -> StoreError {
    StoreError::unavailable(format!("an answer to another write: {written:?}"))
}

#[cfg(test)]
mod tests;
