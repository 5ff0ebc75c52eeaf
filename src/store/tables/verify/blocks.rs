//! The entries by which events are found, against the events.
//!
//! The entries are ordered by term and the events by `seq`, so they are compared as sets: by a sum of
//! keyed hashes, whose keys are new at each run and unknown to whoever wrote the file. Only when the
//! sums differ are the blocks at fault looked for, which takes longer.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::domain::event::Event;
use crate::store::error::StoreError;
use crate::store::tables::blocks::{self, Entry, SIZE};
use crate::store::tables::sql::{Sql, values};
use crate::store::verify::{Difference, Differences};

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
    /// The blocks with an event that could not be read, which cannot be compared; the open one perhaps.
    unread: HashSet<u64>,
    terms: Fingerprint,
}

impl Tally {
    /// Notes an event, or one that could not be read, in order. With the last of a block, its times are compared.
    pub(super) fn note(
        &mut self,
        sql: &dyn Sql,
        seq: u64,
        event: Option<&Event>,
        differences: &mut Differences,
    ) -> Result<(), StoreError> {
        match event {
            Some(event) => self.open.note(event.at, &blocks::terms(event)),
            None => drop(self.unread.insert(self.full)),
        }
        if !seq.is_multiple_of(SIZE) {
            return Ok(());
        }
        let (block, entry) = (self.full, std::mem::take(&mut self.open));
        self.full += 1;
        if self.unread.contains(&block) {
            return Ok(());
        }
        if !entry.has_times_of(sql, block)? {
            differences.push(named(block, "the times by which they are found are not theirs"));
        }
        for term in entry.terms(sql) {
            self.terms.add(&term, block);
        }
        Ok(())
    }
}

fn named(block: u64, problem: impl Into<String>) -> Difference {
    let (first, last) = (blocks::first_seq(block), (block + 1).saturating_mul(SIZE));
    Difference::Tampered { first, last, problem: problem.into() }
}

/// Compares the entries of the full blocks that were walked, and where the log is `whole` all entries there
/// are, with those of the events.
pub(super) fn check(
    sql: &dyn Sql,
    walked: &Tally,
    whole: bool,
    differences: &mut Differences,
) -> Result<(), StoreError> {
    let expected = &walked.terms;
    let mut found = Fingerprint { keys: expected.keys.clone(), ..Fingerprint::default() };
    each(sql, |term, block| {
        if (whole || block < walked.full) && !walked.unread.contains(&block) {
            found.add(term, block);
        }
        Ok(())
    })?;
    if (found.count, found.sums) != (expected.count, expected.sums) {
        name_wrong(sql, walked, whole, differences)?;
    }
    if whole {
        let strangers = "SELECT block FROM blocks WHERE block >= ?1 OR block < 0 ORDER BY block";
        sql.each(strangers, values![walked.full], |row| {
            differences.push(named(row.number(0)?, "entered, and not all in the log"));
            Ok(())
        })?;
    }
    Ok(())
}

/// Entries that are asked for at once.
const PART: u64 = 4096;

fn each(sql: &dyn Sql, mut entry: impl FnMut(&str, u64) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let entries =
        "SELECT term, block FROM terms WHERE (term, block) > (?1, ?2) ORDER BY term, block LIMIT ?3";
    let (mut last, mut part) = ((String::new(), i64::MIN), PART);
    while part == PART {
        part = 0;
        let (term, block) = (std::mem::take(&mut last.0), last.1);
        sql.each(entries, values![&*term, block, PART], |row| {
            part += 1;
            let (term, block) = (row.text_if_any(0), row.int(1)?);
            entry(term, u64::try_from(block).unwrap_or(u64::MAX))?;
            last = (term.to_owned(), block);
            Ok(())
        })?;
    }
    Ok(())
}

/// Names each block with a term too few or too many.
fn name_wrong(
    sql: &dyn Sql,
    walked: &Tally,
    whole: bool,
    differences: &mut Differences,
) -> Result<(), StoreError> {
    let mut entered = vec![0u64; usize::try_from(walked.full).unwrap_or(0)];
    let mut beyond = BTreeSet::new();
    each(sql, |_, block| {
        match usize::try_from(block).ok().and_then(|block| entered.get_mut(block)) {
            Some(count) => *count += 1,
            None if whole && beyond.len() < Differences::NAMED => drop(beyond.insert(block)),
            None => {}
        }
        Ok(())
    })?;
    let mut named_none = true;
    let mut name = |difference| {
        named_none = false;
        differences.push(difference);
    };
    let exists = "SELECT count(*) FROM terms WHERE term = ?1 AND block = ?2";
    for (block, mut strangers) in (0..).zip(entered) {
        if walked.unread.contains(&block) {
            continue;
        }
        let mut lost = None;
        for term in Entry::of(sql, block, u64::MAX - 1)?.terms(sql) {
            match sql.one(exists, values![&*term, block], |row| row.int(0))? {
                None | Some(0) => lost = lost.or(Some(term)),
                Some(_) => strangers = strangers.saturating_sub(1),
            }
        }
        if let Some(term) = lost {
            name(named(block, format!("not to be found by «{term}», which is said there")));
        }
        if strangers > 0 {
            name(named(block, "found by what is not said there"));
        }
    }
    for block in beyond {
        name(named(block, "found by what is not said there"));
    }
    if named_none {
        let problem = "the entries of the blocks contradict themselves";
        differences.push(Difference::Head(problem.to_owned()));
    }
    Ok(())
}
