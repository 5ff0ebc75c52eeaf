//! `hallpass audit verify`: recomputes the whole log from the stored bytes.
//!
//! Everything that a query or a proof relies on is compared with the events themselves: `seq`, the
//! spelling, the columns and the entries of the blocks here, the leaf hashes, the kept inner nodes, the head, the
//! stops, the signing keys and the log's name in `store/verify`. Who can write to the file can still rewrite all of it
//! alike; only a checkpoint that an auditor kept elsewhere shows that.

mod blame;
mod blocks;
mod event;
mod kept;

use rusqlite::Connection;

use crate::domain::checkpoint::Checkpoint;
use crate::store::error::StoreError;
use crate::store::sqlite::Reader;
use crate::store::sqlite::schema;
use crate::store::verify::{Difference, Differences, Kept, Verified, VerifyError, Walk};
use blame::Blamed;
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
/// Everything that is not as it was written. An event that is not the one that was hashed is left out, and the rest is
/// judged. Where an event is missing, only what is told up to there can be judged.
pub fn verify(
    reader: &Reader,
    checkpoint: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let transaction = reader.connection().unchecked_transaction().map_err(StoreError::from)?;
    check_file(&transaction, checkpoint)?;
    let tables = Tables(&transaction);
    let mut walk = Walk::new(&tables, checkpoint);
    let mut tally = blocks::Tally::default();
    let total = tables.head().map_or(0, |head| head.size);
    let walked = walk_events(&transaction, &mut walk, &mut tally, |done| progress(done, total.max(done)));
    let whole = walked.is_ok();
    if !whole {
        let judged = walk.next() - 1;
        walk.differences().end_at(judged);
    }
    walk.differences().take(walked)?;
    blocks::check(&transaction, &tally, whole, walk.differences())?;
    let end = walk.next() - 1;
    let verified = walk.finish(whole)?;
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
    let mut blamed = Blamed::default();
    loop {
        let seq = walk.next();
        // A page that SQLite cannot read is where the log was damaged.
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Difference::event(seq, format!("it cannot be read: {error}")).into()),
        };
        let blame = || blamed.of(connection, seq);
        let (leaf, found) = event::check(row, seq, blame, walk.differences())?;
        match &found {
            Some(event) => walk.note(seq, leaf, event)?,
            None => walk.skip(seq, leaf)?,
        }
        tally.note(connection, seq, found.as_ref(), walk.differences())?;
        if seq.is_multiple_of(STEP) {
            progress(seq);
        }
    }
}

/// What must hold before anything in the file can be compared: its tables are those that hallpass makes, SQLite itself
/// finds it whole (an index that lacks a row would hide a stop from the broker), and it is the log of the checkpoint.
fn check_file(connection: &Connection, checkpoint: Option<&Checkpoint>) -> Result<(), VerifyError> {
    let mut differences = Differences::default();
    for name in schema::differences(connection)? {
        differences.push(Difference::Schema(name));
    }
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    for found in statement.query_map([], |row| row.get::<_, String>(0))? {
        match found? {
            found if found == "ok" => {}
            found => differences.push(Difference::Broken(found)),
        }
    }
    let origin = schema::meta(connection, "origin").ok().flatten();
    if let (Some(checkpoint), Some(expected)) = (checkpoint, origin)
        && checkpoint.origin != expected
    {
        differences.push(Difference::OtherLog { found: checkpoint.origin.clone(), expected });
    }
    differences.check()
}
