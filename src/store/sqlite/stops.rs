//! The stops on disk. None is ever deleted: a lift is written beside its stop.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::tip::sql_int;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::StopId;
use crate::domain::revocation::{Lift, Stop, StopBook, Target};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;

const COLUMNS: &str =
    "SELECT id, target, at, reason, operator, lift_at, lift_reason, lift_operator FROM stops";

/// A value of column `n` that was printed by its own type.
fn parsed<T: std::str::FromStr>(n: usize, text: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(n, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn optional<T: std::str::FromStr>(n: usize, text: Option<String>) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.map(|text| parsed(n, &text)).transpose()
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Stop> {
    let (at, reason, operator): (Option<i64>, Option<String>, Option<String>) =
        (row.get(5)?, row.get(6)?, row.get(7)?);
    let lift = match (at, reason, optional(7, operator)?) {
        (Some(at), Some(reason), Some(operator)) => {
            Some(Lift { at: Timestamp::from_millis(at), reason, operator })
        }
        _ => None,
    };
    Ok(Stop {
        id: parsed(0, &row.get::<_, String>(0)?)?,
        target: parsed(1, &row.get::<_, String>(1)?)?,
        at: Timestamp::from_millis(row.get(2)?),
        reason: row.get(3)?,
        operator: optional(4, row.get(4)?)?,
        lift,
    })
}

pub(super) fn by_id(connection: &Connection, id: StopId) -> rusqlite::Result<Option<Stop>> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    statement.query_row([id.to_string()], read).optional()
}

pub(super) fn active(connection: &Connection, target: &Target) -> rusqlite::Result<Option<Stop>> {
    let mut statement =
        connection.prepare_cached(&format!("{COLUMNS} WHERE target = ?1 AND lift_at IS NULL"))?;
    statement.query_row([target.to_string()], read).optional()
}

pub(super) fn last_lift(connection: &Connection, target: &Target) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = connection.prepare_cached("SELECT max(lift_at) FROM stops WHERE target = ?1")?;
    let at: Option<i64> = statement.query_row([target.to_string()], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_millis))
}

pub(super) fn insert(connection: &Connection, stop: &Stop, seq: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO stops(id, target, at, reason, operator, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let operator = stop.operator.as_ref().map(|operator| operator.as_str());
    connection.prepare_cached(sql)?.execute(params![
        stop.id.to_string(),
        stop.target.to_string(),
        stop.at.millis(),
        stop.reason,
        operator,
        sql_int(seq),
    ])?;
    Ok(())
}

pub(super) fn lift(connection: &Connection, id: StopId, lift: &Lift, seq: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE stops SET lift_at = ?2, lift_reason = ?3, lift_operator = ?4, lift_seq = ?5
               WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id.to_string(),
        lift.at.millis(),
        lift.reason,
        lift.operator.as_str(),
        sql_int(seq),
    ])?;
    Ok(())
}

/// Newest first.
pub(super) fn list(connection: &Connection, active_only: bool) -> Result<Vec<Stop>, StoreError> {
    let only = if active_only { "WHERE lift_at IS NULL" } else { "" };
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} {only} ORDER BY seq DESC"))?;
    let stops = statement.query_map([], read)?;
    Ok(stops.collect::<rusqlite::Result<_>>()?)
}

/// Every standing that can still tell something. Of the stops of tokens, of which there may be as many
/// as there ever were agents' shutdowns, only the last hours' are read.
pub(super) fn load_book(connection: &Connection, now: Timestamp) -> Result<StopBook, StoreError> {
    let mut stops: Vec<Stop> = Vec::new();
    for condition in [
        "INDEXED BY stops_at WHERE at >= ?1",
        "INDEXED BY stops_lasting WHERE target NOT GLOB 'token:*' AND (lift_at IS NULL OR lift_at >= ?1)",
    ] {
        let mut statement = connection.prepare(&format!("{COLUMNS} {condition}"))?;
        for stop in statement.query_map([horizon(now).millis()], read)? {
            stops.push(stop?);
        }
    }
    Ok(StopBook::of(&stops, now))
}

/// No token of this time or before can still be unexpired.
fn horizon(now: Timestamp) -> Timestamp {
    now - 2 * MAX_TOKEN_LIFETIME
}
