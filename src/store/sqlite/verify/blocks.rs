//! The entries by which events are found, against the events.
//!
//! The entries are ordered by term and the events by `seq`, so they are compared as sets: by a sum of
//! keyed hashes, whose keys are new at each run and unknown to whoever wrote the file. Only when the
//! sums differ is the first block looked for, which takes longer.

use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use crate::domain::event::Event;
use crate::store::error::StoreError;
use crate::store::sqlite::blocks::{self, Entry, SIZE};
use crate::store::sqlite::row::sql_int;
use crate::store::verify::VerifyError;

/// A set of (term, block), without order.
#[derive(Debug, Default)]
struct Fingerprint {
    keys: [RandomState; 2],
    count: u64,
    sums: [u64; 2],
}

impl Fingerprint {
    fn add(&mut self, term: &str, block: u64) {
        self.count += 1;
        for (sum, key) in self.sums.iter_mut().zip(&self.keys) {
            *sum = sum.wrapping_add(key.hash_one((term, block)));
        }
    }
}

/// What is recomputed of the entries.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: Entry,
    full: u64,
    terms: Fingerprint,
}

impl Tally {
    /// Notes an event, in order. With the last of a block, its times are compared.
    pub(super) fn note(
        &mut self,
        connection: &Connection,
        seq: u64,
        event: &Event,
    ) -> Result<(), VerifyError> {
        self.open.note(event.at.millis(), &blocks::terms(event));
        if !seq.is_multiple_of(SIZE) {
            return Ok(());
        }
        let (block, entry) = (self.full, std::mem::take(&mut self.open));
        if !entry.has_times_of(connection, block)? {
            return Err(named(block, "the times by which they are found are not theirs".to_owned()));
        }
        for term in entry.terms() {
            self.terms.add(&term, block);
        }
        self.full += 1;
        Ok(())
    }
}

fn named(block: u64, problem: String) -> VerifyError {
    VerifyError::Tampered { first: blocks::first_seq(block), last: (block + 1).saturating_mul(SIZE), problem }
}

/// Compares the entries of the full blocks that were walked, and where the log is `whole` all entries there
/// are, with those of the events.
pub(super) fn check(connection: &Connection, walked: &Tally, whole: bool) -> Result<(), VerifyError> {
    let expected = &walked.terms;
    let mut found = Fingerprint { keys: expected.keys.clone(), ..Fingerprint::default() };
    each(connection, |term, block| {
        if whole || block < walked.full {
            found.add(term, block);
        }
        Ok(())
    })?;
    if (found.count, found.sums) != (expected.count, expected.sums) {
        return Err(first_wrong(connection, walked, whole)?);
    }
    let stranger = "SELECT min(block) FROM blocks WHERE block >= ?1 OR block < 0";
    let stranger: Option<i64> = connection.query_row(stranger, [sql_int(walked.full)], |row| row.get(0))?;
    match stranger.filter(|_| whole) {
        Some(block) => Err(named(block.unsigned_abs(), "entered, and not all in the log".to_owned())),
        None => Ok(()),
    }
}

fn each(
    connection: &Connection,
    mut entry: impl FnMut(&str, u64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT term, block FROM terms")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let block: i64 = row.get(1)?;
        entry(row.get_ref(0)?.as_str().unwrap_or_default(), u64::try_from(block).unwrap_or(u64::MAX))?;
    }
    Ok(())
}

/// The first block with a term too few or too many.
fn first_wrong(connection: &Connection, walked: &Tally, whole: bool) -> Result<VerifyError, StoreError> {
    let mut entered = vec![0u64; usize::try_from(walked.full).unwrap_or(0)];
    let mut beyond = None;
    each(connection, |_, block| {
        match usize::try_from(block).ok().and_then(|block| entered.get_mut(block)) {
            Some(count) => *count += 1,
            None if whole => beyond = beyond.min(Some(block)).or(Some(block)),
            None => {}
        }
        Ok(())
    })?;
    let mut exists = connection.prepare("SELECT count(*) FROM terms WHERE term = ?1 AND block = ?2")?;
    for (block, entered) in (0..).zip(entered) {
        let entry = Entry::of(connection, block, u64::MAX - 1)?;
        let terms = entry.terms();
        for term in &terms {
            let count: i64 = exists.query_row((term, sql_int(block)), |row| row.get(0))?;
            if count == 0 {
                return Ok(named(block, format!("not to be found by «{term}», which is said there")));
            }
        }
        if entered > terms.len() as u64 {
            return Ok(named(block, "found by what is not said there".to_owned()));
        }
    }
    Ok(match beyond {
        Some(block) => named(block, "found by what is not said there".to_owned()),
        None => VerifyError::Head("the entries of the blocks contradict themselves".to_owned()),
    })
}
