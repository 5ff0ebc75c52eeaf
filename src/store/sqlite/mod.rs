//! The store in an SQLite file, for one broker.
//!
//! One thread writes; a lock file holds other processes off. Whoever reads has a connection of its own.

mod at_rest;
mod copy;
mod files;
mod mark;
mod pool;
mod reader;
mod schema;
mod sql;
mod tables;
mod upgrade;
mod wal;
mod writer;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub(in crate::store) use copy::{copy_file, sync};
pub(in crate::store) use files::{failed, lock, real_name, set_log_aside};
pub(in crate::store) use reader::File;

use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter};
use crate::domain::id::{AgentId, IssuerName, StopId, TokenId};
use crate::domain::revocation::{Book, Revision, Stop, Target};
use crate::domain::signing::SealedKey;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::settings::Missing;
use crate::store::tables::activity::{self, Activity, Reach};
use crate::store::tables::batch::Job;
use crate::store::tables::published::Published;
use crate::store::tables::{again, events, keys, meta, related, stops, tip, tree};
use crate::store::write::{Head, Recorded, Write, Written};
use pool::Pool;
use writer::{Message, Task, Writer};

/// Writes that may wait in memory; more are answered with [`StoreError::Busy`].
const QUEUE: usize = 4096;

/// How long closing the store waits for a disk that stalls.
const CLOSING: Duration = Duration::from_secs(5);

/// A store in one file, of which this process is the only writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Sqlite(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: SyncSender<Message>,
    published: Arc<Published>,
    pool: Arc<Pool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Random at each opening.
    instance: u64,
}

impl Sqlite {
    /// Opens the store for writing and makes it where there is none: folders 0700, files 0600.
    ///
    /// # Errors
    /// `Locked` while another broker writes to it, `Newer` or `Foreign` for a file that is not of this
    /// version, `Damaged` where the ends of the log contradict each other, `Lost` for one that is gone and must not be
    /// made anew, `File` for the rest; `Unavailable` for a new
    /// database that cannot be made. One that is there and cannot be written is opened with a [fault](Self::fault).
    pub async fn open(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let writer = Writer::open(&path, missing)?;
            let (published, pool) = (writer.published(), writer.pool());
            let (queue, waiting) = sync_channel(QUEUE);
            let thread = std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || writer.run(&waiting))
                .map_err(StoreError::unavailable)?;
            let thread = Mutex::new(Some(thread));
            let instance = RandomState::new().hash_one(std::process::id());
            Ok(Self(Arc::new(Inner { queue, published, pool, thread, instance })))
        });
        opening.await.map_err(StoreError::unavailable)?
    }

    /// Queues a write and waits until it is durable. Once queued it is done, whether or not the caller
    /// still waits.
    pub(in crate::store) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.run(Job::of(write)).await
    }

    async fn run(&self, job: Job) -> Result<Written, StoreError> {
        self.queue(|reply| Task { job: Some(job), ..Task::answering(reply) }).await
    }

    #[cfg(test)]
    async fn run_raw(&self, raw: writer::RawJob) -> Result<Written, StoreError> {
        self.queue(|reply| Task { raw: Some(raw), ..Task::answering(reply) }).await
    }

    async fn queue(&self, task: impl FnOnce(writer::Reply) -> Task) -> Result<Written, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = task(reply);
        self.0.queue.try_send(Message::Write(Box::new(task))).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub fn instance(&self) -> String {
        format!("{:016x}", self.0.instance)
    }

    /// The committed book. The writer publishes it at each commit, so this touches no disk.
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(&self.0.published.book())
    }

    /// Which change of this history had the number; none where none has it.
    pub async fn mark(&self, revision: Revision) -> Result<Option<Digest>, StoreError> {
        self.0.pool.read(move |connection| stops::mark(connection, revision)).await
    }

    /// One stop.
    pub async fn stop(&self, id: StopId) -> Result<Option<Stop>, StoreError> {
        self.0.pool.read(move |connection| stops::by_id(connection, id)).await
    }

    /// Whether the stop `id` is in the log: it began, or its target was stopped already.
    pub async fn knows_stop(&self, id: StopId) -> Result<bool, StoreError> {
        self.0
            .pool
            .read(move |connection| {
                let began = stops::by_id(connection, id)?.is_some();
                let size = tip::read_head(connection)?.size;
                Ok(began || again::in_place_of(connection, size, id)?.is_some())
            })
            .await
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
        books: Vec<Arc<Book>>,
        now: Timestamp,
    ) -> Result<HashMap<AgentId, Activity>, StoreError> {
        let agents = agents.to_vec();
        self.0.pool.read(move |connection| activity::of_agents(connection, agents, &books, now)).await
    }

    /// The newest tokens of an agent that live at `now`.
    pub async fn live_tokens(
        &self,
        agent: &AgentId,
        books: Vec<Arc<Book>>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let agent = agent.clone();
        self.0.pool.read(move |connection| activity::of_agent(connection, &agent, &books, now, limit)).await
    }

    /// Whether a token was ever issued by a proof of `issuer`.
    pub async fn was_issued_by(&self, issuer: &IssuerName) -> Result<bool, StoreError> {
        let issuer = issuer.clone();
        self.0.pool.read(move |connection| related::was_issued_by(connection, &issuer)).await
    }

    /// What a stop of `target` at `now` would hit.
    pub async fn reach(&self, target: &Target, now: Timestamp) -> Result<Reach, StoreError> {
        let (target, book) = (target.clone(), self.book());
        self.0.pool.read(move |connection| activity::reach(connection, &target, &[book], now)).await
    }

    /// How far the log is committed. Touches no disk.
    pub fn head(&self) -> Head {
        self.0.published.head()
    }

    pub async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        if let Some(at_rest) = self.0.published.at_rest() {
            return Ok(at_rest.keys.clone());
        }
        self.0.pool.read(|connection| keys::list(connection)).await
    }

    /// The log's origin, once it has one.
    pub async fn origin(&self) -> Result<Option<String>, StoreError> {
        if let Some(at_rest) = self.0.published.at_rest() {
            return Ok(at_rest.origin.clone());
        }
        self.0.pool.read(|connection| meta::get(connection, "origin")).await
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

    #[cfg(test)]
    pub(in crate::store) fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (go, wait) = std::sync::mpsc::channel();
        let stalled: writer::RawJob = Box::new(move |_| {
            // Ends when the sender is dropped.
            let _dropped: Result<(), _> = wait.recv();
            Ok(())
        });
        let store = self.clone();
        tokio::spawn(async move { store.run_raw(stalled).await });
        go
    }

    /// Finishes every write that was queued, moves the write-ahead log into the database and gives the
    /// lock up. Calls on other clones fail from then on.
    pub async fn close(self) {
        let inner = self.0;
        let (done, closed) = oneshot::channel();
        // On a thread of its own: the end of a runtime would wait for one of the runtime's.
        let closing = std::thread::Builder::new().name("journal-close".to_owned()).spawn(move || {
            // Waits for a place in a full queue; an error means that the thread has ended already.
            let _ = inner.queue.send(Message::Close);
            let thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Nobody waits for it any more where the disk has stalled for too long.
            let _ = done.send(thread.is_none_or(|thread| thread.join().is_ok()));
        });
        match closing.map(|_| tokio::time::timeout(CLOSING, closed)) {
            Ok(closed) => match closed.await {
                Ok(Ok(true)) => {}
                Ok(_) => tracing::error!("the journal's thread ended in a panic"),
                Err(_) => tracing::error!(
                    "the disk stalls: the store is given up without its last writes; nothing that was confirmed is lost"
                ),
            },
            Err(error) => tracing::error!(%error, "the store is not closed in order"),
        }
    }
}

#[cfg(test)]
mod tests;
