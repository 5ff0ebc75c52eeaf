//! The stops as they are kept, and the changes of the kill switch by number. No stop is ever deleted: a lift is written
//! beside it.

use super::sql::{Row, Sql, values};
use crate::domain::digest::Digest;
use crate::domain::id::StopId;
use crate::domain::revocation::{Lift, Point, Revision, Stop, Target};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;

/// What [`read`] reads, before `FROM stops`.
pub(super) const COLUMNS: &str = "SELECT id, target, at, reason, operator, revision,
    lift_at, lift_reason, lift_operator, lift_revision";

pub(super) fn read(row: &dyn Row) -> Result<Stop, StoreError> {
    let number = row.int_or_none(9)?.map(|number| Revision::new(number.unsigned_abs()));
    let lift = match (row.int_or_none(6)?, row.text_or_none(7)?, row.parsed_or_none(8)?, number) {
        (Some(at), Some(reason), Some(operator), Some(revision)) => {
            Some(Lift { at: Timestamp::from_millis(at), reason: reason.to_owned(), operator, revision })
        }
        (None, None, None, None) => None,
        _ => return Err(StoreError::Damaged("a lift is there in part".to_owned())),
    };
    Ok(Stop {
        id: row.parsed(0)?,
        target: row.parsed(1)?,
        at: Timestamp::from_millis(row.int(2)?),
        reason: row.text(3)?.to_owned(),
        operator: row.parsed_or_none(4)?,
        revision: Some(row.revision(5)?),
        lift,
    })
}

pub(in crate::store) fn by_id(sql: &dyn Sql, id: StopId) -> Result<Option<Stop>, StoreError> {
    sql.one(&format!("{COLUMNS} FROM stops WHERE id = ?1"), values![id.to_string()], read)
}

/// The stop that began with the event `seq`.
pub(super) fn by_seq(sql: &dyn Sql, seq: u64) -> Result<Option<Stop>, StoreError> {
    sql.one(&format!("{COLUMNS} FROM stops WHERE seq = ?1"), values![seq], read)
}

pub(super) fn active(sql: &dyn Sql, target: &Target) -> Result<Option<Stop>, StoreError> {
    let active = format!("{COLUMNS} FROM stops WHERE target = ?1 AND lift_at IS NULL");
    sql.one(&active, values![target.to_string()], read)
}

/// The stop begins with the change `number`, whose event is `seq`.
pub(super) fn insert(sql: &dyn Sql, stop: &Stop, number: Revision, seq: u64) -> Result<(), StoreError> {
    let insert = "INSERT INTO stops(id, target, at, reason, operator, seq, revision)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (id, target, operator) = (stop.id.to_string(), stop.target.to_string(), stop.operator.as_ref());
    let operator = operator.map(|operator| operator.as_str());
    let values = values![id, target, stop.at.millis(), &*stop.reason, operator, seq, number];
    sql.execute(insert, values)
}

pub(super) fn lift(sql: &dyn Sql, id: StopId, lift: &Lift, seq: u64) -> Result<(), StoreError> {
    let update = "UPDATE stops SET lift_at = ?2, lift_reason = ?3, lift_operator = ?4, lift_seq = ?5,
                  lift_revision = ?6 WHERE id = ?1";
    let values =
        values![id.to_string(), lift.at.millis(), &*lift.reason, lift.operator.as_str(), seq, lift.revision];
    sql.execute(update, values)
}

/// A stop in force gets a later number.
pub(super) fn restate(sql: &dyn Sql, id: StopId, number: Revision) -> Result<(), StoreError> {
    sql.execute("UPDATE stops SET revision = ?2 WHERE id = ?1", values![id.to_string(), number])
}

/// Which change had this number; none where no change of this history has it.
pub(in crate::store) fn mark(sql: &dyn Sql, number: Revision) -> Result<Option<Digest>, StoreError> {
    if number == Revision::ZERO {
        return Ok(Some(Point::ZERO.mark));
    }
    let leaf = "SELECT leaf FROM changes JOIN events USING (seq) WHERE revision = ?1";
    Ok(sql.one(leaf, values![number], |row| row.digest(0))?.flatten())
}

/// Newest first.
pub(in crate::store) fn list(sql: &dyn Sql, active_only: bool) -> Result<Vec<Stop>, StoreError> {
    let only = if active_only { "WHERE lift_at IS NULL" } else { "" };
    sql.all(&format!("{COLUMNS} FROM stops {only} ORDER BY seq DESC"), &[], read)
}
