//! The one thread that writes.
//!
//! A lone write is committed at once, and what queued meanwhile is the next commit, for which under load it waits
//! a moment. A failed commit fails everyone in it, changes nothing in memory, and closes
//! the connection, for SQLite cannot always say whether the last bytes landed. The next write, or the
//! next idle moment, opens it again and reads what truly is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::files::Files;
use super::wal::{Wal, checkpoint};
use super::{Database, at_rest, mark, schema, sql};
use crate::store::error::StoreError;
use crate::store::settings::Missing;
use crate::store::tables::batch::Batch;
use crate::store::tables::horizon::Horizon;
use crate::store::tables::pool::Pool;
use crate::store::tables::published::Published;
use crate::store::tables::queue::{MAX_BATCH, Message, Task};
use crate::store::tables::rows::Journal;
use crate::store::tables::tip::Tip;
use crate::store::tables::tree;
use crate::store::write::Written;

/// After a batch as large, more requests are on their way, and each commit is work for every processor:
/// the next one waits a moment for them. A lone request never waits.
const BUSY_BATCH: usize = 4;
const GATHER: Duration = Duration::from_micros(150);

/// How long the thread waits before it looks after its files, its health and the write-ahead log.
const IDLE: Duration = Duration::from_millis(250);

pub(super) struct Writer {
    files: Files,
    connection: Option<Connection>,
    tip: Tip,
    horizon: Horizon,
    published: Arc<Published>,
    pool: Arc<Pool<Database>>,
    wal: Wal,
    /// Whether the database says that it is open.
    is_marked: bool,
}

impl Writer {
    /// # Errors
    /// When the files cannot be made, are held by another writer, or contradict themselves. A database that is there and
    /// cannot be written is read all the same: its stops must hold, and new ones be taken.
    pub(super) fn open(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let mut files = Files::claim(path, missing)?;
        let (connection, tip, published) = match open_database(&files.database) {
            Ok((connection, tip)) => {
                files.note_wal();
                if mark::is_of_another(&connection, &files.database).unwrap_or(false) {
                    tracing::error!(
                        store = %files.database.display(),
                        "this is a plain copy of a database that a broker had open: the last events and stops may be \
                         missing; `hallpass backup` makes whole copies",
                    );
                }
                let published = Published::new(&tip);
                (Some(connection), tip, published)
            }
            Err(error) if error.is_outage() => match at_rest::read(&files.database) {
                Ok((tip, at_rest)) => {
                    tracing::error!(%error, "the journal cannot be written");
                    let published = Published::of_unwritable(&tip, at_rest, &error);
                    (None, tip, published)
                }
                Err(worse) if !worse.is_outage() => return Err(worse),
                Err(_) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let (published, horizon) = (Arc::new(published), Horizon::default());
        let pool = Arc::new(Pool::new(Database(files.database.clone())));
        let wal = Wal::new(&files.database);
        Ok(Self { files, connection, tip, horizon, published, pool, wal, is_marked: false })
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(super) fn pool(&self) -> Arc<Pool<Database>> {
        Arc::clone(&self.pool)
    }

    /// Until `Close`, or until nobody can ask any more.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut batch: Vec<Task> = Vec::with_capacity(MAX_BATCH);
        let mut open = true;
        let mut last_batch = 0;
        while open {
            match queue.recv_timeout(IDLE) {
                Ok(Message::Write(task)) => batch.push(*task),
                Ok(Message::Refresh(reply)) => {
                    // Nobody else writes to the file.
                    let _ = reply.send(Ok(Written::Done));
                    continue;
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.idle();
                    continue;
                }
            }
            if last_batch >= BUSY_BATCH {
                std::thread::sleep(GATHER);
            }
            while batch.len() < MAX_BATCH {
                match queue.try_recv() {
                    Ok(Message::Write(task)) => batch.push(*task),
                    Ok(Message::Refresh(reply)) => drop(reply.send(Ok(Written::Done))),
                    Ok(Message::Close) => {
                        open = false;
                        break;
                    }
                    Err(_) => break,
                }
            }
            last_batch = batch.len();
            self.serve(&mut batch);
        }
        self.finish();
    }

    fn serve(&mut self, batch: &mut Vec<Task>) {
        let committed = match self.connection {
            Some(_) => Ok(()),
            None => self.reopen(),
        };
        let committed = committed.and_then(|()| self.commit(batch));
        match &committed {
            Ok(()) => self.published.set_fault(None),
            Err(error) => self.fail(error),
        }
        for task in batch.drain(..) {
            task.settle(committed.clone());
        }
        // Nobody waits for this any more.
        if let (Ok(()), Some(connection)) = (committed, &self.connection) {
            self.is_marked = true;
            self.wal.committed(connection);
            self.forget_spent();
        }
    }

    /// Drops from the book what can only tell of tokens that have expired. The head says so with the next commit.
    fn forget_spent(&mut self) {
        if let Some(floor) = self.horizon.look(Instant::now(), self.tip.book.revision()) {
            self.tip.book.raise_floor(floor);
            self.published.advance(&self.tip);
        }
    }

    /// Nothing of the batch is in memory before all of it is on disk, in the files that bear its name.
    fn commit(&mut self, batch: &mut [Task]) -> Result<(), StoreError> {
        self.files.check()?;
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        let tip = self.tip.clone();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            if !self.is_marked {
                mark::set(&transaction, &self.files.database)?;
            }
            let mut writes = Batch::new(&*transaction, tip);
            for task in batch {
                task.run(&mut writes)?;
            }
            let done = writes.finish();
            transaction.write(&done.rows)?;
            transaction.commit()?;
            Ok::<_, StoreError>(done.into_tip())
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
        let tip = Tip::load(&connection)?;
        let (before, after) = (&self.tip.frontier, &tip.frontier);
        let known = tree::root_at(&connection, before.size()).ok();
        if after.size() < before.size() || known != Some(before.root()) {
            let lost = format!("the log on disk does not hold the {} events it had", before.size());
            return Err(StoreError::Damaged(lost));
        }
        prove_writable(&connection, &tip)?;
        self.files.note_wal();
        self.connection = Some(connection);
        self.tip = Tip { generation: self.tip.generation + 1, ..tip };
        self.published.advance(&self.tip);
        self.published.forget_at_rest();
        self.published.set_fault(None);
        tracing::info!(size = self.tip.frontier.size(), "the journal can be written again");
        Ok(())
    }

    fn idle(&mut self) {
        self.forget_spent();
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
            if let Err(error) = mark::clear(&connection) {
                tracing::warn!(%error, "the database goes on saying that a broker has it open");
            }
            let _ = checkpoint(&connection, "TRUNCATE");
        }
        self.published.set_fault(Some(&StoreError::Closed));
    }
}

fn open_database(database: &Path) -> Result<(Connection, Tip), StoreError> {
    let connection = schema::open_or_create(database)?;
    let tip = Tip::load(&connection)?;
    Ok((connection, tip))
}

/// Writes what is there already: a disk that is still full lets a database be opened. Does not wait for other programs.
fn prove_writable(connection: &Connection, tip: &Tip) -> Result<(), StoreError> {
    connection.busy_timeout(Duration::ZERO)?;
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    sql::save(&transaction, &tip.head())?;
    transaction.commit()?;
    Ok(connection.busy_timeout(schema::BUSY)?)
}
