//! The one thread of a node that writes. Nodes take turns: whoever has locked the head's row appends.
//!
//! The lock is taken first, and what queued meanwhile is the batch. Under it the node learns what others have written, so
//! that no issuance is ordered after a stop that covers it, whichever node took the stop. All writes of a batch and its
//! commit are sent together.
//!
//! Where the connection is lost before the commit is sent, nothing was written. Where it is lost after that, nobody knows:
//! the node asks a new connection, which waits for the lock of the lost one and so for its end, and looks whether the
//! log had the head that the batch left. Only then are those who wait answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Database;
use super::schema;
use super::session::{SNAPSHOT, Session};
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::settings::PostgresSettings;
use crate::store::tables::batch::{Batch, Done};
use crate::store::tables::horizon::Horizon;
use crate::store::tables::pool::Pool;
use crate::store::tables::published::Published;
use crate::store::tables::queue::{MAX_BATCH, Message, Reply, Task};
use crate::store::tables::sql::Sql;
use crate::store::tables::tip::{Tip, head_of, read_head};
use crate::store::tables::tree;
use crate::store::write::Written;

/// Between two looks at what other nodes have written, while nothing is to be written here.
const IDLE: Duration = Duration::from_millis(250);
/// After a batch as large, more requests are on their way, and the next one waits a moment for them.
const BUSY_BATCH: usize = 4;
const GATHER: Duration = Duration::from_micros(150);
/// How long those who wait are kept waiting to learn whether a batch was committed.
const DOUBT: Duration = Duration::from_secs(8);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

pub(super) const LOCKED_HEAD: &str =
    "SELECT size, root, peaks, latest, skew, revision, floor FROM head WHERE id = 1 FOR UPDATE";

pub(super) struct Writer {
    settings: Arc<PostgresSettings>,
    session: Option<Session>,
    tip: Tip,
    horizon: Horizon,
    published: Arc<Published>,
    pool: Arc<Pool<Database>>,
}

/// How a batch failed.
enum Failure {
    /// Nothing of it was written.
    Undone(StoreError),
    /// It may have been committed, with this head.
    InDoubt(StoreError, Box<Done>),
}

impl Writer {
    /// # Errors
    /// When the database cannot be used, is not of this version, or contradicts itself.
    pub(super) fn open(settings: &Arc<PostgresSettings>) -> Result<Self, StoreError> {
        let session = Session::open(settings)?;
        schema::prepare(&session, &settings.name())?;
        for setting in schema::unsafe_settings(&session)? {
            tracing::warn!(setting, "PostgreSQL may lose what it has confirmed: switch this setting on");
        }
        session.run(SNAPSHOT)?;
        let tip = Tip::load(&session)?;
        session.run("COMMIT")?;
        let published = Arc::new(Published::new(&tip));
        let pool = Arc::new(Pool::new(Database(Arc::clone(settings))));
        let (settings, horizon) = (Arc::clone(settings), Horizon::default());
        Ok(Self { settings, session: Some(session), tip, horizon, published, pool })
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(super) fn pool(&self) -> Arc<Pool<Database>> {
        Arc::clone(&self.pool)
    }

    /// Until `Close`, or until nobody can ask any more.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut waiting = Waiting::default();
        while !waiting.is_closed {
            match queue.recv_timeout(IDLE) {
                Ok(message) => waiting.take(message),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.refresh(&mut Vec::new());
                    continue;
                }
            }
            if waiting.last_batch >= BUSY_BATCH {
                std::thread::sleep(GATHER);
            }
            waiting.drain(queue);
            if !waiting.refreshes.is_empty() {
                self.refresh(&mut waiting.refreshes);
            }
            if !waiting.tasks.is_empty() {
                self.serve(&mut waiting, queue);
            }
        }
        self.pool.clear();
        self.published.set_fault(Some(&StoreError::Closed));
    }

    /// Answers those who want to know what others have written, and publishes it.
    fn refresh(&mut self, replies: &mut Vec<Reply>) {
        let known = self.look();
        self.note(known.as_ref().err());
        self.forget_spent();
        for reply in replies.drain(..) {
            let _ = reply.send(known.clone().map(|()| Written::Done));
        }
    }

    fn look(&mut self) -> Result<(), StoreError> {
        let is_kept = self.session.is_some();
        match self.look_once() {
            // A connection that was idle may have ended, of which its first use tells.
            Err(StoreError::Unavailable(_)) if is_kept => {
                self.session = None;
                self.look_once()
            }
            looked => looked,
        }
    }

    fn look_once(&mut self) -> Result<(), StoreError> {
        self.session()?;
        let Some(session) = &self.session else { return Err(StoreError::Closed) };
        let sql: &dyn Sql = session;
        let size = sql.one("SELECT size FROM head WHERE id = 1", &[], |row| row.number(0))?;
        if size != Some(self.tip.frontier.size()) {
            session.run(SNAPSHOT)?;
            let head = read_head(session)?;
            let mut tip = self.tip.clone();
            tip.catch_up(session, head)?;
            session.run("COMMIT")?;
            self.tip = tip;
            self.published.advance(&self.tip);
        }
        Ok(())
    }

    /// The log can be written, or why not.
    fn note(&mut self, error: Option<&StoreError>) {
        match error {
            None => {
                if self.published.fault().is_some() {
                    tracing::info!(size = self.tip.frontier.size(), "the journal can be written again");
                }
                self.published.set_fault(None);
            }
            Some(error) => {
                // Once, and not for each request that is refused meanwhile.
                if self.published.fault().is_none() {
                    tracing::error!(%error, "the journal cannot be written");
                }
                self.published.set_fault(Some(error));
                self.session = None;
                self.pool.clear();
            }
        }
    }

    /// Drops from the book what can only tell of tokens that have expired. The head says so with the next commit.
    fn forget_spent(&mut self) {
        if let Some(floor) = self.horizon.look(Instant::now(), self.tip.book.revision()) {
            self.tip.book.raise_floor(floor);
            self.published.advance(&self.tip);
        }
    }

    /// The connection, made anew where it was lost. The log of a new one holds every event that this node knows of.
    fn session(&mut self) -> Result<&Session, StoreError> {
        if self.session.is_none() {
            let session = Session::open(&self.settings)?;
            session.end_stuck()?;
            let known = self.tip.frontier.size();
            session.run(SNAPSHOT)?;
            match tree::root_at(&session, known) {
                Ok(root) if root == self.tip.frontier.root() => {}
                Err(error) if error.is_outage() => return Err(error),
                _ => {
                    let lost = format!("the log does not hold the {known} events it had");
                    return Err(StoreError::Damaged(lost));
                }
            }
            session.run("COMMIT")?;
            self.session = Some(session);
        }
        self.session.as_ref().ok_or(StoreError::Closed)
    }

    fn serve(&mut self, waiting: &mut Waiting, queue: &Receiver<Message>) {
        // A connection that was idle may have ended, of which its first use tells.
        let mut begun = self.begin();
        if begun.is_err() {
            self.session = None;
            begun = self.begin();
        }
        waiting.drain(queue);
        waiting.last_batch = waiting.tasks.len();
        let committed = begun.and_then(|()| match self.commit(&mut waiting.tasks) {
            Ok(done) => {
                self.tip = done.into_tip();
                Ok(())
            }
            Err(Failure::Undone(error)) => Err(error),
            Err(Failure::InDoubt(error, done)) => self.resolve(error, *done),
        });
        if committed.is_ok() {
            self.published.advance(&self.tip);
        }
        self.note(committed.as_ref().err());
        for task in waiting.tasks.drain(..) {
            task.settle(committed.clone());
        }
        self.forget_spent();
    }

    /// Locks the head and learns what others have written.
    fn begin(&mut self) -> Result<(), StoreError> {
        let session = self.session()?;
        let head = session.begin_locked(LOCKED_HEAD, head_of)?;
        let Some(session) = &self.session else { return Err(StoreError::Closed) };
        // On a copy: a log that is learnt in part is none.
        let mut tip = self.tip.clone();
        if tip.catch_up(session, head)? {
            self.tip = tip;
            self.published.advance(&self.tip);
        }
        Ok(())
    }

    fn commit(&mut self, tasks: &mut [Task]) -> Result<Done, Failure> {
        let Some(session) = &self.session else { return Err(Failure::Undone(StoreError::Closed)) };
        let tip = self.tip.clone();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let mut batch = Batch::new(session, tip);
            for task in tasks {
                task.run(&mut batch)?;
            }
            Ok::<_, StoreError>(batch.finish())
        }));
        let done = attempt
            .unwrap_or_else(|_| Err(StoreError::unavailable("a write panicked")))
            .map_err(Failure::Undone)?;
        session.prepare_all(&done.rows).map_err(Failure::Undone)?;
        match session.write_and_commit(&done.rows) {
            Ok(()) => Ok(done),
            Err(error) => Err(Failure::InDoubt(error, Box::new(done))),
        }
    }

    /// Finds out whether a batch was committed.
    ///
    /// # Errors
    /// The one that made it doubtful, where it was not, or where nobody could tell in time.
    fn resolve(&mut self, error: StoreError, done: Done) -> Result<(), StoreError> {
        // A batch without events wrote nothing.
        let Some(head) = done.rows.head.clone() else { return Err(error) };
        let deadline = Instant::now() + DOUBT;
        loop {
            self.session = None;
            match self.is_committed(&head) {
                Ok(true) => {
                    tracing::warn!(%error, "a commit was answered late: it is durable");
                    self.tip = done.into_tip();
                    return Ok(());
                }
                Ok(false) => return Err(error),
                Err(cause) if Instant::now() >= deadline => {
                    tracing::error!(%cause, size = head.size, "nobody can tell whether the last events were recorded");
                    let told = format!("{error}, and nobody can tell yet whether the event was recorded");
                    return Err(StoreError::Unavailable(told.into()));
                }
                Err(_) => std::thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
    }

    /// Whether the log had this head. Waits for the lock, and so until the transaction that was lost has ended either way.
    fn is_committed(&mut self, head: &HeadRow) -> Result<bool, StoreError> {
        let session = self.session()?;
        let now = session.begin_locked(LOCKED_HEAD, head_of)?;
        let had = now.size >= head.size && tree::root_at(session, head.size)? == head.root;
        session.run("COMMIT")?;
        Ok(had)
    }
}

/// What was taken from the queue.
#[derive(Default)]
struct Waiting {
    tasks: Vec<Task>,
    refreshes: Vec<Reply>,
    is_closed: bool,
    last_batch: usize,
}

impl Waiting {
    fn take(&mut self, message: Message) {
        match message {
            Message::Write(task) => self.tasks.push(*task),
            Message::Refresh(reply) => self.refreshes.push(reply),
            Message::Close => self.is_closed = true,
        }
    }

    /// What is there now, up to a full batch.
    fn drain(&mut self, queue: &Receiver<Message>) {
        while self.tasks.len() < MAX_BATCH
            && !self.is_closed
            && let Ok(message) = queue.try_recv()
        {
            self.take(message);
        }
    }
}
