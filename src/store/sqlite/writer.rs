//! The one thread that writes.
//!
//! A lone write is committed at once, and what queued meanwhile is the next commit, for which under load it waits
//! a moment. A failed commit fails everyone in it, changes nothing in memory, and closes
//! the connection, for SQLite cannot always say whether the last bytes landed. The next write, or the
//! next idle moment, opens it again and reads what truly is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::batch::Batch;
use super::files::Files;
use super::pool::Pool;
use super::published::Published;
use super::schema;
use super::tip::Tip;
use super::wal::{Wal, checkpoint};
use crate::domain::time::{Clock, Timestamp};
use crate::store::error::StoreError;

/// At most so many writes share a commit, so that the first of them does not wait for a crowd.
const MAX_BATCH: usize = 256;
/// After a batch as large, more requests are on their way, and each commit is work for every processor:
/// the next one waits a moment for them. A lone request never waits.
const BUSY_BATCH: usize = 4;
const GATHER: Duration = Duration::from_micros(150);

/// How long the thread waits before it looks after its files, its health and the write-ahead log.
const IDLE: Duration = Duration::from_millis(250);

/// One write that waits: done within a batch, and answered once the batch is durable or is not.
pub(super) trait Work: Send {
    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

pub(super) struct Task<F, T> {
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Task<F, T> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work: Some(work), value: None, reply }
    }
}

impl<F, T> Work for Task<F, T>
where
    F: FnOnce(&mut Batch<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(batch)?);
        }
        Ok(())
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        // Whoever asked may have gone away; the event stays.
        let _ = reply.send(committed.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

/// How often spent stops are dropped from memory.
const BETWEEN_TRIMS: Duration = Duration::from_secs(600);

pub(super) enum Message {
    Work(Box<dyn Work>),
    Close,
}

pub(super) struct Writer {
    files: Files,
    connection: Option<Connection>,
    tip: Tip,
    clock: Clock,
    published: Arc<Published>,
    pool: Arc<Pool>,
    wal: Wal,
    trimmed: Timestamp,
}

impl Writer {
    /// # Errors
    /// When the files cannot be made, are held by another writer, or contradict themselves.
    pub(super) fn open(path: &std::path::Path, clock: Clock) -> Result<Self, StoreError> {
        let mut files = Files::claim(path)?;
        let connection = schema::open_or_create(&files.database)?;
        let trimmed = clock.now();
        let tip = Tip::load(&connection, trimmed)?;
        files.note_wal();
        let published = Arc::new(Published::new(&tip));
        let pool = Arc::new(Pool::new(files.database.clone()));
        let wal = Wal::new(&files.database);
        let connection = Some(connection);
        Ok(Self { files, connection, tip, clock, published, pool, wal, trimmed })
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }

    /// Until `Close`, or until nobody can ask any more.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut batch: Vec<Box<dyn Work>> = Vec::with_capacity(MAX_BATCH);
        let mut open = true;
        let mut company = 0;
        while open {
            match queue.recv_timeout(IDLE) {
                Ok(Message::Work(work)) => batch.push(work),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.idle();
                    continue;
                }
            }
            if company >= BUSY_BATCH {
                std::thread::sleep(GATHER);
            }
            while batch.len() < MAX_BATCH {
                match queue.try_recv() {
                    Ok(Message::Work(work)) => batch.push(work),
                    Ok(Message::Close) => {
                        open = false;
                        break;
                    }
                    Err(_) => break,
                }
            }
            company = batch.len();
            self.serve(&mut batch);
        }
        self.finish();
    }

    fn serve(&mut self, batch: &mut Vec<Box<dyn Work>>) {
        let committed = match self.connection {
            Some(_) => Ok(()),
            None => self.reopen(),
        };
        let committed = committed.and_then(|()| self.commit(batch));
        match &committed {
            Ok(()) => self.published.set_fault(None),
            Err(error) => self.fail(error),
        }
        for work in batch.drain(..) {
            work.settle(committed.clone());
        }
        // Nobody waits for this any more.
        if let (Ok(()), Some(connection)) = (committed, &self.connection) {
            self.wal.committed(connection);
            self.trim();
        }
    }

    /// Now and then drops from the book what can tell nothing any more.
    fn trim(&mut self) {
        let now = self.clock.now();
        if now.since(self.trimmed) >= BETWEEN_TRIMS {
            self.trimmed = now;
            Arc::make_mut(&mut self.tip.book).forget_spent(now);
            self.published.advance(&self.tip);
        }
    }

    /// Nothing of the batch is in memory before all of it is on disk, in the files that bear its name.
    fn commit(&mut self, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
        self.files.check()?;
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        let tip = self.tip.clone();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let before = tip.frontier.size();
            let mut transaction = Batch::begin(connection, tip)?;
            for work in batch {
                work.run(&mut transaction)?;
            }
            let changed = transaction.size() != before;
            transaction.commit(changed)
        }));
        let tip = attempt.map_err(|_| StoreError::unavailable("a write panicked"))??;
        self.files.check()?;
        self.tip = tip;
        self.published.advance(&self.tip);
        Ok(())
    }

    fn fail(&mut self, error: &StoreError) {
        // Once, and not for each request that is refused meanwhile.
        if self.published.fault().is_none() {
            tracing::error!(%error, "the journal cannot be written");
        }
        self.published.set_fault(Some(error));
        self.wal.halt();
        if let Some(connection) = self.connection.take() {
            // Where the write-ahead log lost its name, this is the last chance to save what it holds.
            let _ = checkpoint(&connection, "TRUNCATE");
        }
        self.pool.clear();
        self.files.forget_wal();
    }

    /// Opens the database again after a failure and takes what is on disk for the truth, as long as
    /// nothing is missing of what was promised to be there.
    fn reopen(&mut self) -> Result<(), StoreError> {
        self.files.check()?;
        let connection = schema::open_writer(&self.files.database)?;
        // A commit that failed half-way may stand in the write-ahead log without being safely on disk,
        // and what comes after it would be lost with it. Moved into the database, it is synced anew.
        let (in_log, moved) = checkpoint(&connection, "TRUNCATE")?;
        if in_log != moved {
            return Err(StoreError::unavailable("the write-ahead log cannot be moved into the database"));
        }
        let tip = Tip::load(&connection, self.clock.now())?;
        let (before, after) = (&self.tip.frontier, &tip.frontier);
        let known = super::tree::root_at(&connection, before.size()).ok();
        if after.size() < before.size() || known != Some(before.root()) {
            let lost = format!("the log on disk does not hold the {} events it had", before.size());
            return Err(StoreError::Damaged(lost));
        }
        self.files.note_wal();
        self.connection = Some(connection);
        self.tip = tip;
        self.published.advance(&self.tip);
        self.published.set_fault(None);
        tracing::info!(size = self.tip.frontier.size(), "the journal can be written again");
        Ok(())
    }

    fn idle(&mut self) {
        match (&self.connection, self.files.check()) {
            (Some(connection), Ok(())) => self.wal.idle(connection),
            (Some(_), Err(error)) => self.fail(&error),
            (None, _) => {
                if let Err(error) = self.reopen() {
                    self.published.set_fault(Some(&error));
                }
            }
        }
    }

    fn finish(mut self) {
        self.pool.clear();
        self.wal.halt();
        if let Some(connection) = self.connection.take() {
            let _ = checkpoint(&connection, "TRUNCATE");
        }
        self.published.set_fault(Some(&StoreError::Closed));
    }
}
