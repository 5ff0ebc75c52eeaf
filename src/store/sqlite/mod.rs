//! The store in an SQLite file, for one broker.
//!
//! One thread writes; a lock file holds other processes off. Whoever reads has a connection of its own.

mod activity;
mod batch;
mod blocks;
mod draft;
mod events;
mod files;
mod keys;
mod pool;
mod published;
mod reader;
mod schema;
mod stops;
mod tip;
mod tree;
mod upgrade;
mod verify;
mod wal;
mod writer;

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use activity::{Activity, Reach};
pub use reader::Reader;
pub use verify::{Verified, VerifyError, verify};

use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::{AgentId, StopId, TokenId};
use crate::domain::revocation::{Levels, Lift, Stop, StopBook, Target, Verdict};
use crate::domain::signing::SealedKey;
use crate::domain::time::{Clock, Timestamp};
use crate::store::error::StoreError;
use crate::store::settings::StoreSettings;
use crate::store::write::{Head, Issuance, Lifted, Recorded};
use batch::Batch;
use draft::Draft;
use pool::Pool;
use published::Published;
use writer::{Message, Task, Writer};

/// Writes that may wait in memory; more are answered with [`StoreError::Busy`].
const QUEUE: usize = 4096;

/// A store in one file, of which this process is the only writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Sqlite(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: SyncSender<Message>,
    published: Arc<Published>,
    pool: Arc<Pool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the store for writing and makes it where there is none: folders 0700, files 0600.
    ///
    /// # Errors
    /// `Locked` while another broker writes to it, `Newer` or `Foreign` for a file that is not of this
    /// version, `Damaged` where the ends of the log contradict each other, `File` for the rest.
    pub async fn open(settings: &StoreSettings, clock: Clock) -> Result<Self, StoreError> {
        let path = settings.path.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let writer = Writer::open(&path, clock)?;
            let (published, pool) = (writer.published(), writer.pool());
            let (queue, waiting) = sync_channel(QUEUE);
            let thread = std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || writer.run(&waiting))
                .map_err(StoreError::unavailable)?;
            let thread = Mutex::new(Some(thread));
            Ok(Self(Arc::new(Inner { queue, published, pool, thread })))
        });
        opening.await.map_err(StoreError::unavailable)?
    }

    /// Queues a write and waits until it is durable. Once queued it is done, whether or not the caller
    /// still waits.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.try_send(Message::Work(Box::new(Task::new(work, reply)))).map_err(
            |error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed,
            },
        )?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Records an event and gives its `seq` once it is durable.
    ///
    /// # Errors
    /// `Misplaced` for the kinds that have functions of their own; `Busy`, `Unavailable`.
    pub async fn append(&self, event: Event) -> Result<u64, StoreError> {
        if draft::needs_its_own_function(event.kind) {
            return Err(StoreError::Misplaced(event.kind));
        }
        let draft = Draft::of(&event);
        self.write(move |batch| batch.append(&draft)).await
    }

    /// Records a `token.issued` event, unless at the moment of the commit a level is stopped, or the
    /// token's `iat`, the second of `event.at`, is dead by an earlier stop, or the `parent` is that it is handed
    /// down from, of which this is told its levels and its `iat`.
    ///
    /// # Errors
    /// `Misplaced` for an event of another kind; `Busy`, `Unavailable`: the token must not be released.
    pub async fn append_issuance(
        &self,
        event: Event,
        levels: &Arc<Levels>,
        parent: Option<(Levels, i64)>,
    ) -> Result<Issuance, StoreError> {
        if event.kind != Kind::TokenIssued {
            return Err(StoreError::Misplaced(event.kind));
        }
        let (draft, levels, iat) = (Draft::of(&event), Arc::clone(levels), event.at.seconds());
        self.write(move |batch| batch.issue(&draft, &levels, iat, parent.as_ref())).await
    }

    /// Records a stop and its event together. What the event says of `at`, `target`, `reason` and
    /// `operator` is taken from the stop, whose `at` is moved behind the target's last lift where it is
    /// not. Where the target is stopped already, that stop is given, and the event recorded as it is.
    /// A stop whose id is known is not recorded again.
    ///
    /// # Errors
    /// `Misplaced` for an event that is not `revocation.stopped`; `Busy`, `Unavailable`.
    pub async fn stop(&self, stop: Stop, event: Event) -> Result<Stop, StoreError> {
        if event.kind != Kind::RevocationStopped {
            return Err(StoreError::Misplaced(event.kind));
        }
        self.write(move |batch| batch.stop(stop, event)).await
    }

    /// Ends a stop and records the event that `make_event` makes of the lifted stop, together. The
    /// lift's `at` is moved behind the stop's where it is not; what the event says of `kind`, `at`,
    /// `target`, `reason` and `operator` is taken from the lift.
    ///
    /// # Errors
    /// `Busy`, `Unavailable`.
    pub async fn lift(
        &self,
        id: StopId,
        lift: Lift,
        make_event: impl FnOnce(&Stop) -> Event + Send + 'static,
    ) -> Result<Lifted, StoreError> {
        self.write(move |batch| batch.lift(id, lift, make_event)).await
    }

    /// What the committed stops say of these levels. Touches no disk.
    pub fn verdict(&self, levels: &Levels) -> Verdict {
        self.0.published.book().verdict(levels)
    }

    /// Every committed standing that can still tell something. Touches no disk.
    pub fn book(&self) -> Arc<StopBook> {
        Arc::clone(&self.0.published.book())
    }

    /// The stops, newest first.
    pub async fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        self.0.pool.read(move |connection| stops::list(connection, active_only)).await
    }

    /// The events that the filter means, newest first: at most `limit`, with a `seq` below `before`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let filter = filter.clone();
        self.0.pool.read(move |connection| events::find(connection, &filter, limit, before)).await
    }

    /// The event of the token's issuance.
    pub async fn token(&self, id: TokenId) -> Result<Option<Recorded>, StoreError> {
        self.0.pool.read(move |connection| events::issuance(connection, id)).await
    }

    /// What each of these agents has had issued, and how many of its tokens live at `now`.
    pub async fn activity(
        &self,
        agents: &[AgentId],
        now: Timestamp,
    ) -> Result<HashMap<AgentId, Activity>, StoreError> {
        let (agents, book) = (agents.to_vec(), self.book());
        self.0.pool.read(move |connection| activity::of_agents(connection, agents, &book, now)).await
    }

    /// What a stop of `target` at `now` would hit.
    pub async fn reach(&self, target: &Target, now: Timestamp) -> Result<Reach, StoreError> {
        let (target, book) = (target.clone(), self.book());
        self.0.pool.read(move |connection| activity::reach(connection, &target, &book, now)).await
    }

    /// How far the log is committed. Touches no disk.
    pub fn head(&self) -> Head {
        self.0.published.head()
    }

    pub async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.0.pool.read(keys::list).await
    }

    /// Keeps a key, in place of one with the same `kid`, together with an event about it.
    ///
    /// # Errors
    /// `Misplaced` for an event of a kind that has a function of its own; `Busy`, `Unavailable`.
    pub async fn put_key(&self, key: SealedKey, event: Option<Event>) -> Result<(), StoreError> {
        if let Some(event) = event.as_ref().filter(|event| draft::needs_its_own_function(event.kind)) {
            return Err(StoreError::Misplaced(event.kind));
        }
        let draft = event.as_ref().map(Draft::of);
        self.write(move |batch| {
            keys::put(batch.connection(), &key)?;
            draft.map_or(Ok(()), |draft| batch.append(&draft).map(drop))
        })
        .await
    }

    /// Forgets a key; no error where there is none.
    pub async fn remove_key(&self, kid: &str) -> Result<(), StoreError> {
        let kid = kid.to_owned();
        self.write(move |batch| keys::remove(batch.connection(), &kid)).await
    }

    /// The log's origin, once it has one.
    pub async fn origin(&self) -> Result<Option<String>, StoreError> {
        self.0.pool.read(|connection| Ok(schema::meta(connection, "origin")?)).await
    }

    /// Gives the log its origin for ever, and says which it has: an earlier one stays.
    pub async fn set_origin(&self, origin: &str) -> Result<String, StoreError> {
        let origin = origin.to_owned();
        self.write(move |batch| {
            let sql = "INSERT INTO meta(name, value) VALUES ('origin', ?1) ON CONFLICT DO NOTHING";
            batch.connection().execute(sql, [&origin])?;
            Ok(schema::meta(batch.connection(), "origin")?.unwrap_or(origin))
        })
        .await
    }

    /// The audit path of an event in the log of `size` events (RFC 6962 §2.1.1), lowest first.
    ///
    /// # Errors
    /// `OutOfRange` for a `seq` or size that the log has not; `Unavailable`.
    pub async fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.0.pool.read(move |connection| tree::inclusion_proof(connection, seq, size)).await
    }

    /// The proof that the log of `second` events extends that of `first` (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// `OutOfRange` unless 0 < `first` ≤ `second` ≤ the log's size; `Unavailable`.
    pub async fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        self.0.pool.read(move |connection| tree::consistency_proof(connection, first, second)).await
    }

    /// Whether the last write succeeded and the files are in place.
    pub fn healthy(&self) -> bool {
        self.fault().is_none()
    }

    /// Why nothing can be recorded, while that is so.
    pub fn fault(&self) -> Option<Arc<StoreError>> {
        self.0.published.fault()
    }

    /// Finishes every write that was queued, moves the write-ahead log into the database and gives the
    /// lock up. Calls on other clones fail from then on.
    pub async fn close(self) {
        let inner = self.0;
        let closing = tokio::task::spawn_blocking(move || {
            // Waits for a place in a full queue; an error means that the thread has ended already.
            let _ = inner.queue.send(Message::Close);
            let thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            thread.map(JoinHandle::join)
        });
        if !matches!(closing.await, Ok(None | Some(Ok(())))) {
            tracing::error!("the journal's thread ended in a panic");
        }
    }
}

#[cfg(test)]
mod tests;
