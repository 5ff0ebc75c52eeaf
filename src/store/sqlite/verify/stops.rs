//! The table of stops against the events that made it: a stop that was deleted or lifted without an
//! event is an agent set free.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::VerifyError;
use crate::domain::event::{Event, Kind};
use crate::domain::id::OperatorName;
use crate::store::sqlite::tip::sql_int;

/// How many rows were met from the side of the events.
#[derive(Debug, Default)]
pub(super) struct Tally {
    stops: u64,
    lifts: u64,
}

type Recorded = (String, i64, Option<String>, Option<String>);

/// Compares what the event did to the stops with what stands there.
pub(super) fn check(
    connection: &Connection,
    seq: u64,
    event: &Event,
    tally: &mut Tally,
) -> Result<(), VerifyError> {
    match event.kind {
        Kind::RevocationStopped => check_stop(connection, seq, event, tally),
        Kind::RevocationLifted => check_lift(connection, seq, event, tally),
        _ => Ok(()),
    }
}

fn said(event: &Event) -> Recorded {
    let target = event.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let operator = event.operator.as_ref().map(OperatorName::to_string);
    (target, event.at.millis(), event.reason.clone(), operator)
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn check_stop(
    connection: &Connection,
    seq: u64,
    event: &Event,
    tally: &mut Tally,
) -> Result<(), VerifyError> {
    let mut statement = connection.prepare_cached(
        "SELECT target, at, reason, operator,
             (lift_at IS NULL) + (lift_reason IS NULL) + (lift_operator IS NULL) + (lift_seq IS NULL)
         FROM stops WHERE seq = ?1",
    )?;
    let row = statement.query_row([sql_int(seq)], |row| Ok((recorded(row)?, row.get(4)?))).optional()?;
    let Some((stop, lift_nulls)) = row else { return check_repeated(connection, seq, event) };
    if stop != said(event) {
        return Err(VerifyError::event(seq, "the stop that it records was changed"));
    }
    let lift_nulls: i64 = lift_nulls;
    if lift_nulls != 0 && lift_nulls != 4 {
        return Err(VerifyError::event(seq, "the stop that it records was lifted without an event"));
    }
    tally.stops += 1;
    Ok(())
}

/// A stop of what was stopped already has an event and no row of its own.
fn check_repeated(connection: &Connection, seq: u64, event: &Event) -> Result<(), VerifyError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM stops
         WHERE target = ?1 AND seq < ?2 AND (lift_seq IS NULL OR lift_seq > ?2)",
    )?;
    let count: i64 = statement.query_row(params![said(event).0, sql_int(seq)], |row| row.get(0))?;
    if count == 0 {
        return Err(VerifyError::event(seq, "the stop that it records is missing from the stops"));
    }
    Ok(())
}

fn check_lift(
    connection: &Connection,
    seq: u64,
    event: &Event,
    tally: &mut Tally,
) -> Result<(), VerifyError> {
    let mut statement = connection.prepare_cached(
        "SELECT target, lift_at, lift_reason, lift_operator FROM stops WHERE lift_seq = ?1",
    )?;
    let row = statement.query_row([sql_int(seq)], recorded).optional()?;
    match row {
        None => Err(VerifyError::event(seq, "the lift that it records is missing from the stops")),
        Some(lift) if lift != said(event) => {
            Err(VerifyError::event(seq, "the lift that it records was changed"))
        }
        Some(_) => {
            tally.lifts += 1;
            Ok(())
        }
    }
}

/// Finds the first stop or lift that no event up to `end` records; where the log is `whole`, of all.
pub(super) fn check_strangers(
    connection: &Connection,
    tally: &Tally,
    end: u64,
    whole: bool,
) -> Result<(), VerifyError> {
    let end = if whole { i64::MAX } else { sql_int(end) };
    for (column, kind, expected) in
        [("seq", "revocation.stopped", tally.stops), ("lift_seq", "revocation.lifted", tally.lifts)]
    {
        let count = format!("SELECT count(*) FROM stops WHERE {column} <= ?1");
        let found: i64 = connection.query_row(&count, [end], |row| row.get(0))?;
        if u64::try_from(found) == Ok(expected) {
            continue;
        }
        let first = format!(
            "SELECT min({column}) FROM stops WHERE {column} <= ?1
             AND coalesce((SELECT kind FROM events e WHERE e.seq = stops.{column}), '') <> ?2"
        );
        let first: Option<i64> = connection.query_row(&first, params![end, kind], |row| row.get(0))?;
        let seq = first.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0);
        return Err(VerifyError::event(seq, "a stop or lift is said to be recorded here, and is not"));
    }
    Ok(())
}
