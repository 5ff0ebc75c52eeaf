//! The write-ahead log, and when what it holds is moved into the database.
//!
//! That takes milliseconds, and nobody would get a token meanwhile. So under load a thread of its own moves what
//! there is while the writer goes on, and the writer itself then moves the little that has come since: only a log
//! that is moved to its end starts over instead of growing. Where nothing waits, the writer moves all.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::schema;
use crate::store::error::StoreError;
use crate::telemetry::Seldom;

/// About 8 MiB of pages under load.
const COMMITS_BETWEEN_MOVES: u32 = 128;
/// Pages in the log that are told: 64 MiB, many times what is there under load.
const MANY_PAGES: i64 = 16 * 1024;
/// Between two lines about a log that grows.
const LINES: Duration = Duration::from_secs(5 * 60);

pub(super) struct Wal {
    database: PathBuf,
    commits: u32,
    mover: Option<JoinHandle<()>>,
    grows: Seldom,
}

impl Wal {
    pub(super) fn new(database: &Path) -> Self {
        Self { database: database.to_owned(), commits: 0, mover: None, grows: Seldom::every(LINES) }
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
        let moved = checkpoint(connection, "PASSIVE");
        if let Ok((pages, _)) = &moved
            && is_held(*pages)
            && self.grows.due().is_some()
        {
            tracing::warn!(
                database = %self.database.display(),
                mebibytes = pages / 256,
                "the write-ahead log grows, because another program has been reading the database all the while: end it, or let it \
                 read a copy (hallpass backup)"
            );
        }
        told(moved);
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

/// Whether a log of so many pages is held: it starts over once all of it is in the database and nobody reads it.
fn is_held(pages: i64) -> bool {
    pages >= MANY_PAGES
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite promises, and what the line rests on: only a reader makes a log grow that is moved again and again.
    #[test]
    fn a_log_that_is_moved_grows_only_while_another_program_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let writer = Connection::open(&file).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let mut wal = Wal::new(&file);
        let mut pages_after = |commits: usize| {
            for _ in 0..commits {
                writer.execute("INSERT INTO t VALUES (zeroblob(9000))", []).unwrap();
                wal.committed(&writer);
                wal.idle(&writer);
            }
            checkpoint(&writer, "PASSIVE").unwrap().0
        };
        assert!(pages_after(40) < 20, "it starts over");
        let reader = Connection::open(&file).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let _held: i64 = reader.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert!(pages_after(40) > 80, "it goes on behind what is read");
        reader.execute_batch("COMMIT").unwrap();
        pages_after(1);
        assert!(pages_after(40) < 20, "it starts over again");
        assert!(is_held(MANY_PAGES) && !is_held(MANY_PAGES / 2));
    }
}
