//! Finding events. The text of a query is made of constants alone; values are always bound.

use std::fmt::Write;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::error::StoreError;
use super::tip::{read_head, sql_int};
use super::{Head, Recorded};
use crate::domain::event::{EventFilter, Kind, Outcome};
use crate::domain::id::TokenId;

/// A query that grows by one condition at a time.
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    /// The events of `filter` whose `seq` is in `range`, newest first.
    fn of(filter: &EventFilter, (first, end): (u64, u64), limit: u32) -> Self {
        let source = source(filter);
        let by_resource = source.starts_with("event_resources");
        let place = if by_resource { "r.seq" } else { "e.seq" };
        let mut query = Self { sql: format!("SELECT e.seq, e.bytes FROM {source}"), values: Vec::new() };
        query.and(&format!("{place} >="), sql_int(first));
        query.and(&format!("{place} <"), sql_int(end));
        if by_resource {
            query.and_text("r.resource =", filter.resource.as_ref());
        } else if let Some(resource) = &filter.resource {
            let named = "EXISTS (SELECT 1 FROM event_resources r WHERE r.seq = e.seq AND r.resource =";
            query.and(named, resource.clone());
            query.sql.push(')');
        }
        query.and_text("e.token =", filter.token);
        query.and_text("e.request =", filter.request);
        query.and_text("e.agent =", filter.agent.as_ref());
        query.and_text("e.owner =", filter.owner.as_ref());
        query.and_text("e.kind =", filter.kind.map(Kind::as_str));
        query.and_text("e.outcome =", filter.outcome.map(Outcome::as_str));
        if let Some(since) = filter.since {
            query.and("e.at >=", since.millis());
        }
        if let Some(until) = filter.until {
            query.and("e.at <", until.millis());
        }
        // A partial index is taken only where the query says what the index leaves out.
        if source.ends_with("events_kind") {
            query.sql.push_str(" AND e.kind <> 'token.issued'");
        } else if source.ends_with("events_outcome") {
            query.sql.push_str(" AND e.outcome <> 'issued'");
        }
        let _ = write!(query.sql, " ORDER BY {place} DESC LIMIT {limit}");
        query
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let glue = if self.values.len() == 1 { "WHERE" } else { "AND" };
        // Writing to a String cannot fail.
        let _ = write!(self.sql, " {glue} {condition} ?{}", self.values.len());
    }

    fn and_text(&mut self, condition: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.and(condition, value.to_string());
        }
    }
}

/// The narrowest way into the log for this filter. SQLite would have to guess; the index that it is
/// told also gives the rows in the order of `seq`, so that it stops after `limit` of them.
fn source(filter: &EventFilter) -> &'static str {
    let rare_kind = filter.kind.is_some_and(|kind| kind != Kind::TokenIssued);
    let rare_outcome = filter.outcome.is_some_and(|outcome| outcome != Outcome::Issued);
    if filter.token.is_some() {
        "events e INDEXED BY events_token"
    } else if filter.request.is_some() {
        "events e INDEXED BY events_request"
    } else if filter.resource.is_some() {
        "event_resources r CROSS JOIN events e ON e.seq = r.seq"
    } else if rare_kind {
        "events e INDEXED BY events_kind"
    } else if filter.agent.is_some() {
        "events e INDEXED BY events_agent"
    } else if filter.owner.is_some() {
        "events e INDEXED BY events_owner"
    } else if rare_outcome {
        "events e INDEXED BY events_outcome"
    } else {
        "events e NOT INDEXED"
    }
}

pub(super) fn find(
    connection: &Connection,
    filter: &EventFilter,
    limit: u32,
    before: Option<u64>,
) -> Result<Vec<Recorded>, StoreError> {
    let (first, end) = seq_range(connection, filter)?;
    let range = (first, end.min(before.unwrap_or(u64::MAX)));
    let query = Query::of(filter, range, limit);
    let mut statement = connection.prepare_cached(&query.sql)?;
    let rows = statement.query_map(params_from_iter(query.values), recorded)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How SQLite would search.
#[cfg(test)]
pub(super) fn plan(connection: &Connection, filter: &EventFilter) -> rusqlite::Result<String> {
    let query = Query::of(filter, (0, u64::MAX), 100);
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql))?;
    let steps = statement.query_map(params_from_iter(query.values), |row| row.get::<_, String>(3))?;
    Ok(steps.collect::<rusqlite::Result<Vec<_>>>()?.join("; "))
}

fn recorded(row: &rusqlite::Row<'_>) -> rusqlite::Result<Recorded> {
    let seq: i64 = row.get(0)?;
    Ok(Recorded { seq: seq.unsigned_abs(), bytes: row.get(1)? })
}

/// A range of `seq` outside of which no event is of the filter's time. See [`super::tip::Span`].
fn seq_range(connection: &Connection, filter: &EventFilter) -> Result<(u64, u64), StoreError> {
    if filter.since.is_none() && filter.until.is_none() {
        return Ok((0, u64::MAX));
    }
    let skew = read_head(connection)?.span.skew;
    let seek = |sql: &str, at: i64| -> rusqlite::Result<Option<u64>> {
        let mut statement = connection.prepare_cached(sql)?;
        let seq: Option<i64> = statement.query_row([at], |row| row.get(0)).optional()?;
        Ok(seq.map(i64::unsigned_abs))
    };
    let first = filter.since.map(|since| {
        let sql = "SELECT seq FROM events INDEXED BY events_at WHERE at < ?1 ORDER BY at DESC LIMIT 1";
        seek(sql, since.millis().saturating_sub(skew))
    });
    let end = filter.until.map(|until| {
        let sql = "SELECT seq FROM events INDEXED BY events_at WHERE at >= ?1 ORDER BY at LIMIT 1";
        seek(sql, until.millis().saturating_add(skew))
    });
    let first = first.transpose()?.flatten().map_or(0, |seq| seq + 1);
    Ok((first, end.transpose()?.flatten().unwrap_or(u64::MAX)))
}

pub(super) fn issuance(connection: &Connection, id: TokenId) -> Result<Option<Recorded>, StoreError> {
    let filter = EventFilter { token: Some(id), kind: Some(Kind::TokenIssued), ..EventFilter::default() };
    Ok(find(connection, &filter, 1, None)?.pop())
}

pub(super) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let row = read_head(connection)?;
    Ok(Head { size: row.size, root: row.root })
}
