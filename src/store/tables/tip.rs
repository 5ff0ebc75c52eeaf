//! The end of the log: what the next event is appended to.

use std::sync::Arc;
use std::time::Duration;

use super::blocks::{self, Entry};
use super::replay::{Replayed, replay};
use super::sql::{Row, Sql};
use super::tail;
use crate::domain::digest::Digest;
use crate::domain::merkle::Frontier;
use crate::domain::revocation::{Book, Revision};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::head::{HeadRow, Span};
use crate::store::in_force::InForce;

/// What the writer holds in memory. A batch works on a copy, which becomes the tip once it is durable.
#[derive(Debug, Clone)]
pub(in crate::store) struct Tip {
    pub(in crate::store) frontier: Frontier,
    pub(in crate::store) span: Span,
    pub(in crate::store) book: Book,
    /// The stops in force.
    pub(in crate::store) in_force: InForce,
    /// The floor that the last change's event tells. That of the book may be higher by then.
    pub(in crate::store) floor: Revision,
    /// Changes whenever the book may be another.
    pub(in crate::store) generation: u64,
    /// What is to be entered of the block at the end, once it is full.
    pub(in crate::store) open: Arc<Entry>,
}

/// # Errors
/// `Damaged` where the row is missing or its values have not the form that the writer gives them.
pub(in crate::store) fn read_head(sql: &dyn Sql) -> Result<HeadRow, StoreError> {
    let head = "SELECT size, root, peaks, latest, skew, revision, floor FROM head WHERE id = 1";
    head_of(sql, head)
}

/// Of the row that `head` selects.
pub(in crate::store) fn head_of(sql: &dyn Sql, head: &str) -> Result<HeadRow, StoreError> {
    let damaged = || StoreError::Damaged("the head has not the form of one".to_owned());
    let unsigned = |number: i64| u64::try_from(number).map_err(|_| damaged());
    let read = |row: &dyn Row| {
        let peaks = row.blob(2)?.chunks(32).map(|peak| peak.try_into().ok().map(Digest));
        Ok(HeadRow {
            size: unsigned(row.int(0)?)?,
            root: row.digest(1)?.ok_or_else(damaged)?,
            peaks: peaks.collect::<Option<_>>().ok_or_else(damaged)?,
            span: Span {
                latest: Timestamp::from_millis(row.int(3)?),
                skew: Duration::from_millis(unsigned(row.int(4)?)?),
            },
            revision: row.revision(5)?,
            floor: row.revision(6)?,
        })
    };
    sql.one(head, &[], read)?.ok_or_else(|| StoreError::Damaged("the head is missing".to_owned()))
}

impl Tip {
    /// Reads the tip from disk. Looks at the end, and at what tells of the kill switch: a start must
    /// not wait for a whole log.
    ///
    /// # Errors
    /// `Damaged` where head, frontier and last event contradict each other; `Differs` where the tables of the kill
    /// switch are not what the log tells.
    pub(in crate::store) fn load(sql: &dyn Sql) -> Result<Self, StoreError> {
        let head = read_head(sql)?;
        let damaged = |problem: String| Err(StoreError::Damaged(problem));
        let size = head.size;
        let frontier = Frontier::from_parts(size, head.peaks);
        let Some(frontier) = frontier.filter(|frontier| frontier.root() == head.root) else {
            return damaged(format!("the head of {size} events has another root than its frontier"));
        };
        let last = sql.one("SELECT max(seq) FROM events", &[], |row| row.int_or_none(0))?.flatten();
        let last = last.unwrap_or(0);
        if u64::try_from(last) != Ok(size) {
            return damaged(format!("the head counts {size} events, and the last one is {last}"));
        }
        tail::check(sql, &frontier, head.revision)?;
        let Replayed { book, in_force } = replay(sql, head.revision, head.floor)?;
        let open = Arc::new(Entry::of(sql, blocks::full(size), size)?);
        let floor = book.floor();
        Ok(Self { frontier, span: head.span, book, in_force, floor, generation: 0, open })
    }

    /// Takes the book that is on disk. One that contradicts itself fails the batch, and so the next start.
    pub(super) fn reread(&mut self, sql: &dyn Sql) -> Result<(), StoreError> {
        let floor = self.book.floor();
        let replayed = replay(sql, self.book.revision(), self.floor)?;
        (self.book, self.in_force) = (replayed.book, replayed.in_force);
        self.book.raise_floor(floor);
        self.generation += 1;
        Ok(())
    }

    /// The head that counts what this is the end of.
    pub(in crate::store) fn head(&self) -> HeadRow {
        HeadRow {
            size: self.frontier.size(),
            root: self.frontier.root(),
            peaks: self.frontier.peaks().to_vec(),
            span: self.span,
            revision: self.book.revision(),
            floor: self.floor,
        }
    }
}
