//! `hallpass audit verify`: recomputes the whole log from the stored bytes.
//!
//! Everything that a query or a proof relies on is compared with the events themselves: `seq`, the
//! spelling, the columns, the entries of the blocks, the leaf hashes, the kept inner nodes, the head, the
//! stops, the signing keys, the log's name. Who can write to the file can still rewrite all of it alike; only a checkpoint that an
//! auditor kept elsewhere shows that.

mod blocks;
mod event;
mod keys;
mod stops;

use rusqlite::Connection;

use crate::domain::checkpoint::Checkpoint;
use crate::domain::digest::Digest;
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::merkle::{Frontier, empty_root};
use crate::store::error::StoreError;
use crate::store::sqlite::Reader;
use crate::store::sqlite::schema;
use crate::store::sqlite::tip::{self, Span};
use crate::store::sqlite::tree;

/// A log that is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub size: u64,
    pub root: Digest,
}

/// Where the log is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first event that fails; the first and last of those among which it is, where only a hash over
    /// several tells.
    #[error("{}: {problem}", events(*.first, *.last))]
    Tampered { first: u64, last: u64, problem: String },
    /// The database's tables are not those that hallpass makes.
    #[error("the database's own definition of {0} was changed")]
    Schema(String),
    /// The file contradicts itself, whatever hallpass wrote into it.
    #[error("the database file is damaged: {0}")]
    Broken(String),
    /// Which one, and how.
    #[error("the signing keys are not those that the log tells of: {0}")]
    Keys(String),
    #[error("the log was named {0}, and what the database says of itself is something else")]
    Origin(String),
    #[error("the head was changed: {0}")]
    Head(String),
    /// The checkpoint covers events that are gone.
    #[error("the log ends at event {size}, but the checkpoint covers {covered}: events were removed")]
    Truncated { size: u64, covered: u64 },
    /// The log is whole in itself, and another than the one that was signed.
    #[error("the first {covered} events are not those that the checkpoint was signed for")]
    Rewritten { covered: u64 },
    #[error("the checkpoint is of the log {found}, and this one is {expected}")]
    OtherLog { found: String, expected: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl VerifyError {
    fn event(seq: u64, problem: impl Into<String>) -> Self {
        Self::Tampered { first: seq, last: seq, problem: problem.into() }
    }
}

fn events(first: u64, last: u64) -> String {
    if first == last { format!("event {first}") } else { format!("events {first} to {last}") }
}

/// How many events pass between two calls of `progress`.
const STEP: u64 = 4096;

/// Recomputes the log that `reader` sees when this starts, whatever a broker appends meanwhile, and
/// compares it with a checkpoint whose signature was checked. Blocking; memory does not grow with the
/// log. `progress` gets the events done and how many there are.
///
/// # Errors
/// The first thing that is not as it was written.
pub fn verify(
    reader: &Reader,
    checkpoint: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let transaction = reader.connection().unchecked_transaction().map_err(StoreError::from)?;
    if let Some(name) = schema::first_difference(&transaction)? {
        return Err(VerifyError::Schema(name));
    }
    check_integrity(&transaction)?;
    check_origin(&transaction, checkpoint)?;
    let mut walk = Walk::new(&transaction, checkpoint.map(|checkpoint| checkpoint.size));
    let total = tip::read_head(&transaction).map_or(0, |head| head.size);
    let walked = walk.events(|done| progress(done, total.max(done)));
    // What is found beside the events may be wrong at an earlier event than the walk ended at.
    let (whole, end) = (walked.is_ok(), walk.good);
    blocks::check(&transaction, &walk.blocks, whole)?;
    walk.stops.check(&transaction, end, whole)?;
    walked?;
    walk.tiles()?;
    walk.head()?;
    walk.keys.check(&transaction)?;
    progress(end, end);
    if let Some(checkpoint) = checkpoint {
        match walk.covered {
            None => return Err(VerifyError::Truncated { size: end, covered: checkpoint.size }),
            Some(root) if root != checkpoint.root => {
                return Err(VerifyError::Rewritten { covered: checkpoint.size });
            }
            Some(_) => {}
        }
    }
    Ok(Verified { size: end, root: walk.frontier.root() })
}

/// Whether SQLite itself finds the file whole: an index that lacks a row would hide a stop from the broker.
fn check_integrity(connection: &Connection) -> Result<(), VerifyError> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(VerifyError::Broken(found)) }
}

fn check_origin(connection: &Connection, checkpoint: Option<&Checkpoint>) -> Result<(), VerifyError> {
    let origin = schema::meta(connection, "origin")?;
    match (checkpoint, origin) {
        (Some(checkpoint), Some(expected)) if checkpoint.origin != expected => {
            Err(VerifyError::OtherLog { found: checkpoint.origin.clone(), expected })
        }
        _ => Ok(()),
    }
}

/// What is recomputed.
struct Walk<'a> {
    connection: &'a Connection,
    /// The last event that was good in itself.
    good: u64,
    frontier: Frontier,
    span: Span,
    blocks: blocks::Tally,
    stops: stops::Replay,
    keys: keys::Replay,
    tiles: u64,
    /// The size whose root is asked for, and that root once it was met.
    wanted: Option<u64>,
    covered: Option<Digest>,
}

impl<'a> Walk<'a> {
    fn new(connection: &'a Connection, wanted: Option<u64>) -> Self {
        let covered = (wanted == Some(0)).then(empty_root);
        Self {
            connection,
            good: 0,
            frontier: Frontier::default(),
            span: Span::default(),
            blocks: Default::default(),
            stops: Default::default(),
            keys: Default::default(),
            tiles: 0,
            wanted,
            covered,
        }
    }

    fn events(&mut self, mut progress: impl FnMut(u64)) -> Result<(), VerifyError> {
        let mut statement = self.connection.prepare(event::SELECT)?;
        let mut rows = statement.query([])?;
        loop {
            let seq = self.frontier.size() + 1;
            // A page that SQLite cannot read is where the log was damaged.
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                Err(error) => return Err(VerifyError::event(seq, format!("it cannot be read: {error}"))),
            };
            let (leaf, found) = event::check(row, seq)?;
            self.append(seq, leaf)?;
            self.stops.note(self.connection, seq, &found)?;
            self.keys.note(seq, &found)?;
            self.blocks.note(self.connection, seq, &found)?;
            self.span.note(found.at.millis());
            self.good = seq;
            if seq.is_multiple_of(STEP) {
                progress(seq);
            }
        }
    }

    fn append(&mut self, seq: u64, leaf: Digest) -> Result<(), VerifyError> {
        let mut completed = Vec::new();
        self.frontier.append_with(leaf, |node, hash| {
            if node.level.is_multiple_of(TILE_HEIGHT) {
                completed.push((node, *hash));
            }
        });
        for (node, hash) in completed {
            self.tiles += 1;
            if tree::tile(self.connection, node)? != Some(hash) {
                let first = (node.index << node.level) + 1;
                let problem = "the inner node over them is not the one that was written".to_owned();
                return Err(VerifyError::Tampered { first, last: seq, problem });
            }
        }
        if self.wanted == Some(seq) {
            self.covered = Some(self.frontier.root());
        }
        Ok(())
    }

    fn tiles(&self) -> Result<(), VerifyError> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM tiles", [], |row| row.get(0))?;
        if u64::try_from(count) == Ok(self.tiles) {
            return Ok(());
        }
        Err(VerifyError::Head("there are inner nodes over events that the log does not have".to_owned()))
    }

    fn head(&self) -> Result<(), VerifyError> {
        let head = match tip::read_head(self.connection) {
            Err(StoreError::Damaged(problem)) => return Err(VerifyError::Head(problem)),
            head => head?,
        };
        let size = self.frontier.size();
        let tampered = |first, last, problem: &str| {
            Err(VerifyError::Tampered { first, last, problem: problem.to_owned() })
        };
        if head.size > size {
            return tampered(size + 1, head.size, "missing, though the head counts it");
        }
        if head.size < size {
            return tampered(head.size + 1, size, "not counted by the head");
        }
        let peaks = self.frontier.peaks().iter().zip(&head.peaks).zip(self.frontier.ranges());
        for ((computed, kept), (start, end)) in peaks {
            if computed != kept {
                return tampered(start + 1, end, "the head was signed over other events");
            }
        }
        if head.peaks.len() != self.frontier.peaks().len() || head.root != self.frontier.root() {
            return Err(VerifyError::Head("its root is not that of its events".to_owned()));
        }
        if head.span != self.span {
            return Err(VerifyError::Head("its times are not those of its events".to_owned()));
        }
        Ok(())
    }
}
