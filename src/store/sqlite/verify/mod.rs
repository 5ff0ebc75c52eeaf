//! `hallpass audit verify`: recomputes the whole log from the stored bytes.
//!
//! Everything that a query or a proof relies on is compared with the events themselves: `seq`, the
//! spelling, the columns and the entries of the blocks here, the leaf hashes, the kept inner nodes, the head, the
//! stops, the signing keys and the log's name in `store/verify`. Who can write to the file can still rewrite all of it
//! alike; only a checkpoint that an auditor kept elsewhere shows that.

mod blocks;
mod event;
mod kept;

use rusqlite::Connection;

use crate::domain::checkpoint::Checkpoint;
use crate::store::error::StoreError;
use crate::store::sqlite::Reader;
use crate::store::sqlite::schema;
use crate::store::verify::{Kept, Verified, VerifyError, Walk};
use kept::Tables;

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
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
    let tables = Tables(&transaction);
    let mut walk = Walk::new(&tables, checkpoint);
    let mut tally = blocks::Tally::default();
    let total = tables.head().map_or(0, |head| head.size);
    let walked = walk_events(&transaction, &mut walk, &mut tally, |done| progress(done, total.max(done)));
    // What is found beside the events may be wrong at an earlier event than the walk ended at.
    let whole = walked.is_ok();
    blocks::check(&transaction, &tally, whole)?;
    walk.check_stops(whole)?;
    walked?;
    let end = walk.next() - 1;
    let verified = walk.finish()?;
    progress(end, end);
    Ok(verified)
}

fn walk_events(
    connection: &Connection,
    walk: &mut Walk<'_, Tables<'_>>,
    tally: &mut blocks::Tally,
    mut progress: impl FnMut(u64),
) -> Result<(), VerifyError> {
    let mut statement = connection.prepare(event::SELECT)?;
    let mut rows = statement.query([])?;
    loop {
        let seq = walk.next();
        // A page that SQLite cannot read is where the log was damaged.
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => return Err(VerifyError::event(seq, format!("it cannot be read: {error}"))),
        };
        let (leaf, found) = event::check(row, seq)?;
        walk.note(seq, leaf, &found)?;
        tally.note(connection, seq, &found)?;
        walk.accept(seq);
        if seq.is_multiple_of(STEP) {
            progress(seq);
        }
    }
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
