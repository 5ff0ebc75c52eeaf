//! The write-ahead log, and when what it holds is moved into the database.
//!
//! That takes milliseconds, and nobody would get a token meanwhile. So under load a thread of its own moves what
//! there is while the writer goes on, and the writer itself then moves the little that has come since: only a log
//! that is moved to its end starts over instead of growing. Where nothing waits, the writer moves all.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::schema;
use crate::store::error::StoreError;

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

    /// After each commit.
    pub(super) fn committed(&mut self, connection: &Connection) {
        self.commits += 1;
        match &self.mover {
            Some(mover) if mover.is_finished() => self.move_rest(connection),
            None if self.commits >= COMMITS_BETWEEN_MOVES => self.begin(connection),
            _ => {}
        }
    }

    /// While nothing waits to be written.
    pub(super) fn idle(&mut self, connection: &Connection) {
        if self.commits > 0 {
            self.move_rest(connection);
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

    /// Without waiting for readers.
    fn move_rest(&mut self, connection: &Connection) {
        self.halt();
        self.commits = 0;
        told(checkpoint(connection, "PASSIVE"));
    }

    /// Where there is no other thread to be had, the writer does it.
    fn begin(&mut self, connection: &Connection) {
        let database = self.database.clone();
        let thread = std::thread::Builder::new().name("journal-move".to_owned());
        match thread.spawn(move || told(move_beside(&database))) {
            Ok(mover) => self.mover = Some(mover),
            Err(_) => self.move_rest(connection),
        }
    }
}

/// A failure is no fault yet: what is in the log is durable there.
fn told(moved: Result<(i64, i64), impl std::fmt::Display>) {
    if let Err(error) = moved {
        tracing::warn!(%error, "the write-ahead log could not be moved into the database");
    }
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
