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

use std::ops::ControlFlow;

use super::meta;
use super::sql::{Sql, values};
use crate::domain::checkpoint::Checkpoint;
use crate::store::verify::{Difference, Differences, Kept, Verified, VerifyError, Walk};
use blame::Blamed;
use kept::Tables;

/// How many events are asked for at once, and pass between two calls of `progress`.
const PART: u64 = 4096;

/// Recomputes the log within a transaction that sees one state of it, and compares it with a checkpoint whose signature
/// was checked. Blocking; memory does not grow with the log. `progress` gets the events done and how many there are.
///
/// # Errors
/// Everything that is not as it was written. An event that is not the one that was hashed is left out, and the rest is
/// judged. Where an event is missing, only what is told up to there can be judged.
pub(in crate::store) fn verify(
    sql: &dyn Sql,
    checkpoint: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    check_database(sql, checkpoint)?;
    let tables = Tables(sql);
    let mut walk = Walk::new(&tables, checkpoint);
    let mut tally = blocks::Tally::default();
    let total = tables.head().map_or(0, |head| head.size);
    let walked = walk_events(sql, &mut walk, &mut tally, |done| progress(done, total.max(done)));
    let whole = walked.is_ok();
    if !whole {
        let judged = walk.next() - 1;
        walk.differences().end_at(judged);
    }
    walk.differences().take(walked)?;
    blocks::check(sql, &tally, whole, walk.differences())?;
    let end = walk.next() - 1;
    let verified = walk.finish(whole)?;
    progress(end, end);
    Ok(verified)
}

fn walk_events(
    sql: &dyn Sql,
    walk: &mut Walk<'_, Tables<'_>>,
    tally: &mut blocks::Tally,
    mut progress: impl FnMut(u64),
) -> Result<(), VerifyError> {
    let mut blamed = Blamed::default();
    // No event has a `seq` below 1, and somebody may have written one.
    let (mut after, mut part) = (i64::MIN, PART);
    while part == PART {
        part = 0;
        let mut failed = None;
        let read = sql.rows(event::SELECT, values![after, PART], &mut |row| {
            part += 1;
            let seq = walk.next();
            let mut take = || {
                let blame = || blamed.of(sql, seq);
                let (leaf, found) = event::check(row, seq, blame, walk.differences())?;
                match &found {
                    Some(event) => walk.note(seq, leaf, event)?,
                    None => walk.skip(seq, leaf)?,
                }
                tally.note(sql, seq, found.as_ref(), walk.differences())?;
                Ok(())
            };
            failed = take().err();
            Ok(if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        // A page that the database cannot read is where the log was damaged.
        read.map_err(|error| Difference::event(walk.next(), format!("it cannot be read: {error}")))?;
        after = i64::try_from(walk.next() - 1).unwrap_or(i64::MAX);
        progress(walk.next() - 1);
    }
    Ok(())
}

/// What must hold before anything in the database can be compared: its tables are those that hallpass makes, it finds itself
/// whole (an index that lacks a row would hide a stop from the broker), and it is the log of the checkpoint.
fn check_database(sql: &dyn Sql, checkpoint: Option<&Checkpoint>) -> Result<(), VerifyError> {
    let mut differences = Differences::default();
    for name in sql.schema_differences()? {
        differences.push(Difference::Schema(name));
    }
    for found in sql.damage()? {
        differences.push(Difference::Broken(found));
    }
    let origin = meta::get(sql, "origin").ok().flatten();
    if let (Some(checkpoint), Some(expected)) = (checkpoint, origin)
        && checkpoint.origin != expected
    {
        differences.push(Difference::OtherLog { found: checkpoint.origin.clone(), expected });
    }
    differences.check()
}
