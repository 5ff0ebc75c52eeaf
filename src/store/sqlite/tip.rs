//! The end of the log: what the next event is appended to.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::blocks::{self, Entry};
use super::replay::{Replayed, replay};
use super::row::{digest, revision, sql_int};
use super::tail;
use crate::domain::merkle::Frontier;
use crate::domain::revocation::{Book, Revision};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::head::{HeadRow, Span};
use crate::store::in_force::InForce;

/// What the writer holds in memory. A batch works on a copy, which becomes the tip once it is durable.
#[derive(Debug, Clone)]
pub(super) struct Tip {
    pub(super) frontier: Frontier,
    pub(super) span: Span,
    pub(super) book: Book,
    /// The stops in force.
    pub(super) in_force: InForce,
    /// The floor that the last change's event tells. That of the book may be higher by then.
    pub(super) floor: Revision,
    /// Changes whenever the book may be another.
    pub(super) generation: u64,
    /// What is to be entered of the block at the end, once it is full.
    pub(super) open: Arc<Entry>,
}

/// # Errors
/// `Damaged` where the row is missing or its values have not the form that the writer gives them.
pub(super) fn read_head(connection: &Connection) -> Result<HeadRow, StoreError> {
    let damaged = || StoreError::Damaged("the head has not the form of one".to_owned());
    let mut statement = connection
        .prepare_cached("SELECT size, root, peaks, latest, skew, revision, floor FROM head WHERE id = 1")?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or_else(|| StoreError::Damaged("the head is missing".to_owned()))?;
    let size: i64 = row.get(0)?;
    let root: Vec<u8> = row.get(1)?;
    let peaks: Vec<u8> = row.get(2)?;
    let chunks = peaks.chunks(32).map(digest);
    let skew: i64 = row.get(4)?;
    Ok(HeadRow {
        size: u64::try_from(size).map_err(|_| damaged())?,
        root: digest(&root).ok_or_else(damaged)?,
        peaks: chunks.collect::<Option<_>>().ok_or_else(damaged)?,
        span: Span {
            latest: Timestamp::from_millis(row.get(3)?),
            skew: Duration::from_millis(u64::try_from(skew).map_err(|_| damaged())?),
        },
        revision: revision(row.get(5)?),
        floor: revision(row.get(6)?),
    })
}

impl Tip {
    /// Reads the tip from disk. Looks at the end, and at what tells of the kill switch: a start must
    /// not wait for a whole log.
    ///
    /// # Errors
    /// `Damaged` where head, frontier and last event contradict each other; `Differs` where the tables of the kill
    /// switch are not what the log tells.
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let head = read_head(connection)?;
        let damaged = |problem: String| Err(StoreError::Damaged(problem));
        let size = head.size;
        let frontier = Frontier::from_parts(size, head.peaks);
        let Some(frontier) = frontier.filter(|frontier| frontier.root() == head.root) else {
            return damaged(format!("the head of {size} events has another root than its frontier"));
        };
        let last: Option<i64> = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
        let last = last.unwrap_or(0);
        if u64::try_from(last) != Ok(size) {
            return damaged(format!("the head counts {size} events, and the last one is {last}"));
        }
        tail::check(connection, &frontier, head.revision)?;
        let Replayed { book, in_force } = replay(connection, head.revision, head.floor)?;
        let open = Arc::new(Entry::of(connection, blocks::full(size), size)?);
        let floor = book.floor();
        Ok(Self { frontier, span: head.span, book, in_force, floor, generation: 0, open })
    }

    /// Takes the book that is on disk. One that contradicts itself fails the batch, and so the next start.
    pub(super) fn reread(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let floor = self.book.floor();
        let replayed = replay(connection, self.book.revision(), self.floor).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?;
        (self.book, self.in_force) = (replayed.book, replayed.in_force);
        self.book.raise_floor(floor);
        self.generation += 1;
        Ok(())
    }

    /// Writes the head of this tip; the events it counts are in the same transaction.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let peaks: Vec<u8> = self.frontier.peaks().iter().flat_map(|peak| peak.0).collect();
        let mut statement = connection.prepare_cached(
            "UPDATE head SET size = ?1, root = ?2, peaks = ?3, latest = ?4, skew = ?5, revision = ?6, floor = ?7
             WHERE id = 1",
        )?;
        statement.execute(rusqlite::params![
            sql_int(self.frontier.size()),
            &self.frontier.root().0[..],
            peaks,
            self.span.latest.millis(),
            i64::try_from(self.span.skew.as_millis()).unwrap_or(i64::MAX),
            sql_int(self.book.revision().number()),
            sql_int(self.floor.number()),
        ])?;
        Ok(())
    }
}
