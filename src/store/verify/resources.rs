//! The rows by which events are found with `resource`, against the events.
//!
//! The rows are ordered by resource and the events by `seq`, so they are compared as sets: by a sum of
//! keyed hashes, whose keys are new at each run and unknown to whoever wrote the file. Only when the
//! sums differ is the first event looked for, which takes longer.

use std::hash::{BuildHasher, RandomState};

use rusqlite::{Connection, OptionalExtension, params};

use super::VerifyError;
use crate::domain::event::Event;
use crate::store::draft;
use crate::store::error::StoreError;
use crate::store::tip::sql_int;

/// A set of (resource, seq), without order.
#[derive(Debug, Default)]
pub(super) struct Fingerprint {
    keys: [RandomState; 2],
    count: u64,
    sums: [u64; 2],
}

impl Fingerprint {
    fn add(&mut self, resource: &str, seq: u64) {
        self.count += 1;
        for (sum, key) in self.sums.iter_mut().zip(&self.keys) {
            *sum = sum.wrapping_add(key.hash_one((resource, seq)));
        }
    }

    pub(super) fn add_event(&mut self, seq: u64, event: &Event) {
        for resource in event.resources() {
            self.add(resource, seq);
        }
    }
}

/// Compares the rows of the events up to `end`, and where the log is `whole` all rows there are, with
/// the fingerprint of those events.
pub(super) fn check(
    connection: &Connection,
    expected: &Fingerprint,
    end: u64,
    whole: bool,
) -> Result<(), VerifyError> {
    let mut found = Fingerprint { keys: expected.keys.clone(), ..Fingerprint::default() };
    let mut statement = connection.prepare("SELECT resource, seq FROM event_resources")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(1)?;
        let seq = u64::try_from(seq).unwrap_or(0);
        if whole || seq <= end {
            found.add(row.get_ref(0)?.as_str().unwrap_or_default(), seq);
        }
    }
    if (found.count, found.sums) == (expected.count, expected.sums) {
        return Ok(());
    }
    let lost = first_lost(connection, end)?.map(|seq| (seq, "cannot be found by a resource that it names"));
    let stranger = first_stranger(connection, end, whole)?
        .map(|seq| (seq, "is found by a resource that it does not name"));
    match lost.into_iter().chain(stranger).min() {
        Some((seq, problem)) => Err(VerifyError::event(seq, problem)),
        None => Err(VerifyError::Head("the resources of the events contradict themselves".to_owned())),
    }
}

/// The resources of the event `seq`; none where there is no such event.
fn named(connection: &Connection, seq: u64) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT bytes FROM events WHERE seq = ?1")?;
    let bytes: Option<String> = statement.query_row([sql_int(seq)], |row| row.get(0)).optional()?;
    let event = bytes.and_then(|bytes| draft::parse(seq, &bytes).ok());
    Ok(event.map(|event| event.resources().into_iter().map(str::to_owned).collect()).unwrap_or_default())
}

fn first_lost(connection: &Connection, end: u64) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT count(*) FROM event_resources WHERE resource = ?1 AND seq = ?2";
    let mut count = connection.prepare(sql)?;
    for seq in 1..=end {
        for resource in named(connection, seq)? {
            if count.query_row(params![resource, sql_int(seq)], |row| row.get::<_, i64>(0))? == 0 {
                return Ok(Some(seq));
            }
        }
    }
    Ok(None)
}

fn first_stranger(connection: &Connection, end: u64, whole: bool) -> Result<Option<u64>, StoreError> {
    let mut first = None;
    let mut statement = connection.prepare("SELECT resource, seq FROM event_resources")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (resource, seq): (String, i64) = (row.get(0)?, row.get(1)?);
        let seq = u64::try_from(seq).unwrap_or(0);
        let earlier = first.is_none_or(|first| seq < first) && (whole || seq <= end);
        if earlier && !named(connection, seq)?.contains(&resource) {
            first = Some(seq);
        }
    }
    Ok(first)
}
