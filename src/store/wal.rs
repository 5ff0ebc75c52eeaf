//! The write-ahead log, and when what it holds is moved into the database.
//!
//! That takes milliseconds, and nobody would get a token meanwhile. So under load a thread of its own moves what
//! there is while the writer goes on, and the writer itself then moves the little that has come since: only a log
//! that is moved to its end starts over instead of growing. Where nothing waits, the writer moves all.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::error::StoreError;
use super::schema;

/// About 8 MiB of pages under load.
const COMMITS_BETWEEN_MOVES: u32 = 128;

pub(super) struct Wal {
    database: PathBuf,
    commits: u32,
    mover: Option<JoinHandle<()>>,
}

impl Wal {
    pub(super) fn new(database: &Path) -> Self {
        Self { database: database.to_owned(), commits: 0, mover: None }
    }

    /// After each commit: whether the log is moved to its end.
    pub(super) fn committed(&mut self, connection: &Connection) -> bool {
        self.commits += 1;
        if self.mover.as_ref().is_some_and(JoinHandle::is_finished) {
            self.halt();
            return self.move_all(connection);
        }
        if self.mover.is_none() && self.commits >= COMMITS_BETWEEN_MOVES {
            return !self.begin() && self.move_all(connection);
        }
        false
    }

    /// While nothing waits to be written.
    pub(super) fn idle(&mut self, connection: &Connection) {
        if self.commits > 0 {
            self.halt();
            self.move_all(connection);
        }
    }

    /// Waits for the other thread, before the writer's connection is given up.
    pub(super) fn halt(&mut self) {
        if let Some(mover) = self.mover.take()
            && mover.join().is_err()
        {
            tracing::error!("the thread that moves the write-ahead log panicked");
        }
    }

    /// Without waiting for readers. A failure is no fault yet: what is in the log is durable there.
    fn move_all(&mut self, connection: &Connection) -> bool {
        self.commits = 0;
        moved(checkpoint(connection, "PASSIVE"))
    }

    fn begin(&mut self) -> bool {
        let database = self.database.clone();
        let run = move || {
            moved(move_beside(&database));
        };
        self.mover = std::thread::Builder::new().name("journal-move".to_owned()).spawn(run).ok();
        self.mover.is_some()
    }
}

fn moved(result: Result<(i64, i64), impl std::fmt::Display>) -> bool {
    result
        .inspect_err(
            |error| tracing::warn!(%error, "the write-ahead log could not be moved into the database"),
        )
        .is_ok_and(|(in_log, moved)| in_log == moved)
}

/// Moves what the log holds now, on a connection of its own.
fn move_beside(database: &Path) -> Result<(i64, i64), StoreError> {
    let connection = schema::open_mover(database)?;
    // Were it the last one open, closing it would do what only the writer may.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(checkpoint(&connection, "PASSIVE")?)
}

/// How many frames the log has and how many of them are in the database.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)))
}
