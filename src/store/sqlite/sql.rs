//! What the shared code asks of a connection, of SQLite.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::schema;
use crate::domain::time::NumericDate;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::tables::rows::{EventRow, Journal, Rows};
use crate::store::tables::sql::{Cell, EachRow, Row, Sql, Value};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn cell(&self, n: usize) -> Result<Cell<'_>, StoreError> {
        Ok(match self.get_ref(n)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Int(number),
            ValueRef::Text(text) => Cell::Text(text),
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
            ValueRef::Real(_) => Cell::Other,
        })
    }
}

impl Sql for Connection {
    fn rows(&self, sql: &str, values: &[Value<'_>], row: &mut EachRow<'_>) -> Result<(), StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(next) = rows.next()? {
            if row(next)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        self.prepare_cached(sql)?.execute(params_from_iter(values))?;
        Ok(())
    }

    fn check_stops(&self) -> Result<(), StoreError> {
        let found: String = self.query_row("PRAGMA integrity_check('stops')", [], |row| row.get(0))?;
        let trigger = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
        let trigger: Option<String> = self.query_row(trigger, [], |row| row.get(0)).optional()?;
        if let Some(name) = trigger {
            let name = name.escape_debug();
            return Err(StoreError::Differs(format!("there is a trigger, {name}, and hallpass makes none")));
        }
        if found != "ok" {
            return Err(StoreError::Differs(format!("the table of the stops is damaged: {found}")));
        }
        Ok(())
    }

    fn schema_differences(&self) -> Result<Vec<String>, StoreError> {
        schema::differences(self)
    }

    fn damage(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.prepare("PRAGMA integrity_check")?;
        let mut found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        found.retain(|found| found != "ok");
        Ok(found)
    }
}

const EVENT: &str =
    "INSERT INTO events(seq, leaf, at, kind, outcome, agent, owner, issuer, token, request, expires,
     bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

impl Journal for Connection {
    fn write(&self, rows: &Rows) -> Result<(), StoreError> {
        let mut insert = self.prepare_cached(EVENT)?;
        for EventRow { seq, leaf, columns: row, bytes } in &rows.events {
            insert.execute(params![
                sql_int(*seq),
                &leaf.0[..],
                row.at.millis(),
                row.kind,
                row.outcome,
                row.agent.as_ref().map(|agent| agent.as_str()),
                row.owner.as_ref().map(|owner| owner.as_str()),
                row.issuer.as_ref().map(|issuer| issuer.as_str()),
                row.token,
                row.request,
                row.expires.map(NumericDate::seconds),
                bytes,
            ])?;
        }
        for (node, hash) in &rows.tiles {
            let mut insert =
                self.prepare_cached("INSERT INTO tiles(level, place, hash) VALUES (?1, ?2, ?3)")?;
            insert.execute(params![node.level, sql_int(node.index), &hash.0[..]])?;
        }
        // In order, for whoever is first in a page of the index is next to whoever is second.
        for row in &rows.blocks {
            let insert = "INSERT INTO blocks(block, earliest, latest) VALUES (?1, ?2, ?3)";
            let (block, (earliest, latest)) = (sql_int(row.block), row.span);
            self.prepare_cached(insert)?.execute(params![block, earliest.millis(), latest.millis()])?;
            let mut insert = self.prepare_cached("INSERT INTO terms(term, block) VALUES (?1, ?2)")?;
            for term in &row.terms {
                insert.execute(params![term, block])?;
            }
        }
        for (number, seq, ended) in &rows.changes {
            let insert = "INSERT INTO changes(revision, seq, ended) VALUES (?1, ?2, ?3)";
            let ended = ended.map(|token| token.to_string());
            self.prepare_cached(insert)?.execute(params![sql_int(number.number()), sql_int(*seq), ended])?;
        }
        rows.head.as_ref().map_or(Ok(()), |head| save(self, head))
    }

    #[cfg(test)]
    fn connection(&self) -> &dyn std::any::Any {
        self
    }
}

/// Writes the head; the events it counts are in the same transaction.
pub(super) fn save(connection: &Connection, head: &HeadRow) -> Result<(), StoreError> {
    let peaks: Vec<u8> = head.peaks.iter().flat_map(|peak| peak.0).collect();
    let update =
        "UPDATE head SET size = ?1, root = ?2, peaks = ?3, latest = ?4, skew = ?5, revision = ?6, floor = ?7
                  WHERE id = 1";
    connection.prepare_cached(update)?.execute(params![
        sql_int(head.size),
        &head.root.0[..],
        peaks,
        head.span.latest.millis(),
        i64::try_from(head.span.skew.as_millis()).unwrap_or(i64::MAX),
        sql_int(head.revision.number()),
        sql_int(head.floor.number()),
    ])?;
    Ok(())
}

/// SQLite's integers are signed; a log never comes near the limit.
pub(super) fn sql_int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
