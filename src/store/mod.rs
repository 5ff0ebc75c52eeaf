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
mod moving;
mod postgres;
mod query;
mod reader;
mod record;
pub mod settings;
mod spool;
mod sqlite;
mod tables;
mod verify;
mod write;

use std::sync::Arc;

pub use activity::{Activity, Reach};
pub use backup::{Restored, back_up, restore, stamp};
pub use error::StoreError;
pub use moving::move_to_postgres;
pub use reader::Reader;
pub use settings::{Missing, StoreSettings};
pub use spool::{MAX_ENDS, Spool, WaitingChange};
pub use verify::{Difference, Differences, Verified, VerifyError};
pub use write::{Adoption, Head, Issuance, LiftOutcome, Recorded};

use crate::domain::event::{Event, Kind};
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Book, Levels, Lift, Revision, Stop};
use crate::domain::signing::SealedKey;
use postgres::Postgres;
use sqlite::Sqlite;
use tables::activity;
use tables::published::Published;
use tables::sql::Sql;
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

    fn published(&self) -> &Published {
        backend!(self, store => store.published())
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
        self.lift_knowing(id, lift, event, None).await
    }

    /// The same, unless an event after the first `known` ones is about the stop: somebody stopped its target again, or said
    /// anew when it ends.
    ///
    /// # Errors
    /// As [`Store::lift`].
    pub async fn lift_knowing(
        &self,
        id: StopId,
        lift: Lift,
        event: Event,
        known: Option<u64>,
    ) -> Result<LiftOutcome, StoreError> {
        match self.write(Write::Lift { id, lift, event, known }).await? {
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
            // While it is down, its writer looks several times a second.
            Self::Postgres(_) if let Some(fault) = self.fault() => Err(StoreError::clone(&fault)),
            Self::Postgres(store) => store.queue().refresh().await,
        }
    }

    /// The same as far as this process has seen it, without asking anybody.
    pub fn seen(&self) -> Arc<Book> {
        self.published().book()
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
        self.published().head()
    }

    /// Keeps a key, in place of one with the same `kid`, together with an event that says which it is. Where another node
    /// has made one for the same purpose, whose `kid` is not among the `known`, nothing is written, and false given.
    ///
    /// # Errors
    /// `Misplaced` for an event of a kind that has a function of its own; `Busy`, `Unavailable`.
    pub async fn put_key(
        &self,
        key: SealedKey,
        known: Vec<String>,
        event: Event,
    ) -> Result<bool, StoreError> {
        let event = self.by_itself(event)?;
        match self.write(Write::PutKey { key, known, event }).await? {
            Written::Key(is_there) => Ok(is_there),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets a key, together with an event about it; nothing happens where there is none.
    ///
    /// # Errors
    /// As [`Store::put_key`].
    pub async fn remove_key(&self, kid: &str, event: Event) -> Result<(), StoreError> {
        let event = self.by_itself(event)?;
        self.write(Write::RemoveKey { kid: kid.to_owned(), event }).await.map(drop)
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

    /// Whether other nodes may write to it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Whether the last write succeeded and the files are in place.
    pub fn healthy(&self) -> bool {
        self.fault().is_none()
    }

    /// Why nothing can be recorded, while that is so.
    pub fn fault(&self) -> Option<Arc<StoreError>> {
        self.published().fault()
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
