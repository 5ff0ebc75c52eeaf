//! The stops on disk, and the changes of the kill switch by number. No stop is ever deleted: a lift is written beside it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{digest, revision, sql_int};
use crate::domain::digest::Digest;
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Lift, Point, Revision, Stop, Target};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;

/// What [`read`] reads, before `FROM stops`.
pub(super) const COLUMNS: &str = "SELECT id, target, at, reason, operator, revision,
    lift_at, lift_reason, lift_operator, lift_revision";

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
    let (at, reason, operator, number): (Option<i64>, Option<String>, Option<String>, Option<i64>) =
        (row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?);
    let lift = match (at, reason, optional(8, operator)?, number) {
        (Some(at), Some(reason), Some(operator), Some(number)) => {
            Some(Lift { at: Timestamp::from_millis(at), reason, operator, revision: revision(number) })
        }
        (None, None, None, None) => None,
        _ => {
            return Err(rusqlite::Error::InvalidColumnType(
                6,
                "lift".to_owned(),
                rusqlite::types::Type::Null,
            ));
        }
    };
    Ok(Stop {
        id: parsed(0, &row.get::<_, String>(0)?)?,
        target: parsed(1, &row.get::<_, String>(1)?)?,
        at: Timestamp::from_millis(row.get(2)?),
        reason: row.get(3)?,
        operator: optional(4, row.get(4)?)?,
        revision: Some(revision(row.get(5)?)),
        lift,
    })
}

pub(super) fn by_id(connection: &Connection, id: StopId) -> rusqlite::Result<Option<Stop>> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} FROM stops WHERE id = ?1"))?;
    statement.query_row([id.to_string()], read).optional()
}

/// The stop that began with the event `seq`.
pub(super) fn by_seq(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Stop>> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} FROM stops WHERE seq = ?1"))?;
    statement.query_row([sql_int(seq)], read).optional()
}

pub(super) fn active(connection: &Connection, target: &Target) -> rusqlite::Result<Option<Stop>> {
    let mut statement =
        connection.prepare_cached(&format!("{COLUMNS} FROM stops WHERE target = ?1 AND lift_at IS NULL"))?;
    statement.query_row([target.to_string()], read).optional()
}

/// The stop begins with the change `number`, whose event is `seq`.
pub(super) fn insert(
    connection: &Connection,
    stop: &Stop,
    number: Revision,
    seq: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO stops(id, target, at, reason, operator, seq, revision)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(params![
        stop.id.to_string(),
        stop.target.to_string(),
        stop.at.millis(),
        stop.reason,
        stop.operator.as_ref().map(|operator| operator.as_str()),
        sql_int(seq),
        sql_int(number.number()),
    ])?;
    change(connection, number, seq, None)
}

pub(super) fn lift(connection: &Connection, id: StopId, lift: &Lift, seq: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE stops SET lift_at = ?2, lift_reason = ?3, lift_operator = ?4, lift_seq = ?5, lift_revision = ?6
               WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id.to_string(),
        lift.at.millis(),
        lift.reason,
        lift.operator.as_str(),
        sql_int(seq),
        sql_int(lift.revision.number()),
    ])?;
    change(connection, lift.revision, seq, None)
}

/// A stop in force gets a later number.
pub(super) fn restate(
    connection: &Connection,
    id: StopId,
    number: Revision,
    seq: u64,
) -> rusqlite::Result<()> {
    let sql = "UPDATE stops SET revision = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id.to_string(), sql_int(number.number())])?;
    change(connection, number, seq, None)
}

/// Records the change `number`, which is the event `seq`, and by which `ended` ended.
pub(super) fn change(
    connection: &Connection,
    number: Revision,
    seq: u64,
    ended: Option<TokenId>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO changes(revision, seq, ended) VALUES (?1, ?2, ?3)";
    let ended = ended.map(|token| token.to_string());
    connection.prepare_cached(sql)?.execute(params![sql_int(number.number()), sql_int(seq), ended])?;
    Ok(())
}

/// Which change had this number; none where no change of this history has it.
pub(super) fn mark(connection: &Connection, number: Revision) -> Result<Option<Digest>, StoreError> {
    if number == Revision::ZERO {
        return Ok(Some(Point::ZERO.mark));
    }
    let sql = "SELECT leaf FROM changes JOIN events USING (seq) WHERE revision = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let leaf: Option<Vec<u8>> =
        statement.query_row([sql_int(number.number())], |row| row.get(0)).optional()?;
    Ok(leaf.and_then(|leaf| digest(&leaf)))
}

/// Newest first.
pub(super) fn list(connection: &Connection, active_only: bool) -> Result<Vec<Stop>, StoreError> {
    let only = if active_only { "WHERE lift_at IS NULL" } else { "" };
    let mut statement =
        connection.prepare_cached(&format!("{COLUMNS} FROM stops {only} ORDER BY seq DESC"))?;
    let stops = statement.query_map([], read)?;
    Ok(stops.collect::<rusqlite::Result<_>>()?)
}
