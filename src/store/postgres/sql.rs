//! What the shared code asks of a connection, of PostgreSQL.

use bytes::BytesMut;
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::schema;
use super::session::Session;
use crate::domain::digest::Digest;
use crate::domain::time::NumericDate;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::tables::rows::{BlockRow, EventRow, Journal, Rows};
use crate::store::tables::sql::{Cell, EachRow, Row, Sql, Value};

/// An entry of an index holds up to about 2,700 bytes, and a batch with a longer one fails as a whole.
const LONGEST: usize = 1024;

type Fault = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value<'_> {
    fn to_sql(&self, r#type: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) if *r#type == Type::INT4 => i32::try_from(*number)?.to_sql(r#type, out),
            Self::Int(number) => number.to_sql(r#type, out),
            Self::Text(text) => text.to_sql(r#type, out),
            Self::Blob(bytes) => bytes.to_sql(r#type, out),
        }
    }

    fn accepts(r#type: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::BYTEA].contains(r#type)
    }

    to_sql_checked!();
}

impl Row for tokio_postgres::Row {
    fn cell(&self, n: usize) -> Result<Cell<'_>, StoreError> {
        let unreadable = |error| StoreError::Damaged(format!("column {n} of a row cannot be read: {error}"));
        let r#type = self.columns().get(n).map(|column| column.type_().clone());
        let cell = match r#type {
            Some(Type::INT8) => self.try_get::<_, Option<i64>>(n).map_err(unreadable)?.map(Cell::Int),
            Some(Type::INT4) => {
                self.try_get::<_, Option<i32>>(n).map_err(unreadable)?.map(|number| Cell::Int(number.into()))
            }
            Some(Type::TEXT) => {
                let text = self.try_get::<_, Option<&str>>(n).map_err(unreadable)?;
                text.map(|text| Cell::Text(text.as_bytes()))
            }
            Some(Type::BYTEA) => self.try_get::<_, Option<&[u8]>>(n).map_err(unreadable)?.map(Cell::Blob),
            _ => Some(Cell::Other),
        };
        Ok(cell.unwrap_or(Cell::Null))
    }
}

impl Sql for Session {
    fn rows(&self, sql: &str, values: &[Value<'_>], row: &mut EachRow<'_>) -> Result<(), StoreError> {
        let statement = self.statement(sql)?;
        for found in self.wait(self.client().query(&statement, &bound(values)))? {
            if row(&found)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        let statement = self.statement(sql)?;
        self.wait(self.client().execute(&statement, &bound(values))).map(drop)
    }

    fn indexed(&self, text: String) -> String {
        // No text of PostgreSQL holds a NUL, for which somebody may search all the same.
        if text.len() <= LONGEST && !text.contains('\0') {
            return text;
        }
        format!("sha256 {}", Digest::of(text.as_bytes()))
    }

    fn check_stops(&self) -> Result<(), StoreError> {
        match schema::intruder(self)? {
            None => Ok(()),
            Some(name) => Err(StoreError::Differs(format!("there is {name}, and hallpass makes none"))),
        }
    }

    fn schema_differences(&self) -> Result<Vec<String>, StoreError> {
        schema::differences(self)
    }

    fn damage(&self) -> Result<Vec<String>, StoreError> {
        schema::damage(self)
    }
}

fn bound<'a>(values: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

const EVENTS: &str = "INSERT INTO events(seq, leaf, at, kind, outcome, agent, owner, issuer, token, request, expires, bytes)
    SELECT * FROM unnest(?1::bigint[], ?2::bytea[], ?3::bigint[], ?4::text[], ?5::text[], ?6::text[], ?7::text[],
    ?8::text[], ?9::text[], ?10::text[], ?11::bigint[], ?12::text[])";
const TILES: &str =
    "INSERT INTO tiles(level, place, hash) SELECT * FROM unnest(?1::integer[], ?2::bigint[], ?3::bytea[])";
const BLOCKS: &str = "INSERT INTO blocks(block, earliest, latest) SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[])";
const TERMS: &str = "INSERT INTO terms(term, block) SELECT * FROM unnest(?1::text[], ?2::bigint[])";
const CHANGES: &str =
    "INSERT INTO changes(revision, seq, ended) SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[])";
const HEAD: &str =
    "UPDATE head SET size = ?1, root = ?2, peaks = ?3, latest = ?4, skew = ?5, revision = ?6, floor = ?7
    WHERE id = 1";

type Values = Vec<Box<dyn ToSql + Sync>>;

macro_rules! columns {
    ($($column:expr),* $(,)?) => { vec![$(Box::new($column) as Box<dyn ToSql + Sync>),*] };
}

/// The statements that write the rows, each of them all rows of one table.
fn statements(rows: &Rows) -> Vec<(&'static str, Values)> {
    let mut statements = Vec::new();
    let mut add = |is_needed: bool, sql, values: &dyn Fn() -> Values| {
        if is_needed {
            statements.push((sql, values()));
        }
    };
    add(!rows.events.is_empty(), EVENTS, &|| events(&rows.events));
    add(!rows.tiles.is_empty(), TILES, &|| {
        let levels: Vec<i32> = rows.tiles.iter().map(|(node, _)| node.level.cast_signed()).collect();
        let places: Vec<i64> = rows.tiles.iter().map(|(node, _)| int(node.index)).collect();
        let hashes: Vec<Vec<u8>> = rows.tiles.iter().map(|(_, hash)| hash.0.to_vec()).collect();
        columns![levels, places, hashes]
    });
    add(!rows.blocks.is_empty(), BLOCKS, &|| {
        let of = |read: fn(&BlockRow) -> i64| rows.blocks.iter().map(read).collect::<Vec<_>>();
        columns![of(|row| int(row.block)), of(|row| row.span.0.millis()), of(|row| row.span.1.millis())]
    });
    add(rows.blocks.iter().any(|row| !row.terms.is_empty()), TERMS, &|| {
        let terms = rows.blocks.iter().flat_map(|row| row.terms.iter().map(|term| (term, int(row.block))));
        let (terms, blocks): (Vec<String>, Vec<i64>) =
            terms.map(|(term, block)| (term.clone(), block)).unzip();
        columns![terms, blocks]
    });
    add(!rows.changes.is_empty(), CHANGES, &|| {
        let numbers: Vec<i64> = rows.changes.iter().map(|(number, ..)| int(number.number())).collect();
        let seqs: Vec<i64> = rows.changes.iter().map(|(_, seq, _)| int(*seq)).collect();
        let ended = rows.changes.iter().map(|(.., ended)| ended.map(|token| token.to_string()));
        columns![numbers, seqs, ended.collect::<Vec<Option<String>>>()]
    });
    if let Some(head) = &rows.head {
        add(true, HEAD, &|| values_of(head));
    }
    statements
}

fn events(rows: &[EventRow]) -> Values {
    fn of<'r, T>(rows: &'r [EventRow], read: impl Fn(&'r EventRow) -> T) -> Vec<T> {
        rows.iter().map(read).collect()
    }
    columns![
        of(rows, |row| int(row.seq)),
        of(rows, |row| row.leaf.0.to_vec()),
        of(rows, |row| row.columns.at.millis()),
        of(rows, |row| row.columns.kind),
        of(rows, |row| row.columns.outcome),
        of(rows, |row| row.columns.agent.as_ref().map(ToString::to_string)),
        of(rows, |row| row.columns.owner.as_ref().map(ToString::to_string)),
        of(rows, |row| row.columns.issuer.as_ref().map(ToString::to_string)),
        of(rows, |row| row.columns.token.clone()),
        of(rows, |row| row.columns.request.clone()),
        of(rows, |row| row.columns.expires.map(NumericDate::seconds)),
        of(rows, |row| row.bytes.clone()),
    ]
}

fn values_of(head: &HeadRow) -> Values {
    let peaks: Vec<u8> = head.peaks.iter().flat_map(|peak| peak.0).collect();
    columns![
        int(head.size),
        head.root.0.to_vec(),
        peaks,
        head.span.latest.millis(),
        i64::try_from(head.span.skew.as_millis()).unwrap_or(i64::MAX),
        int(head.revision.number()),
        int(head.floor.number()),
    ]
}

/// PostgreSQL's integers are signed; a log never comes near the limit.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Session {
    /// Prepares what writes the rows: an error after that may be one of the commit.
    pub(super) fn prepare_all(&self, rows: &Rows) -> Result<(), StoreError> {
        statements(rows).iter().try_for_each(|(sql, _)| self.statement(sql).map(drop))
    }

    /// Writes the rows and ends the transaction, without waiting between the statements.
    pub(super) fn write_and_commit(&self, rows: &Rows) -> Result<(), StoreError> {
        self.send(rows, Some("COMMIT"))
    }

    fn send(&self, rows: &Rows, last: Option<&str>) -> Result<(), StoreError> {
        let statements = statements(rows);
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, values) in &statements {
            prepared.push((self.statement(sql)?, values));
        }
        self.wait(async {
            let writes = prepared.iter().map(|(statement, values)| async move {
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value).collect();
                self.client().execute(statement, &values).await
            });
            let end = async {
                match last {
                    Some(last) => self.client().batch_execute(last).await,
                    None => Ok(()),
                }
            };
            // Polled in this order, so they are sent in it. All answers are waited for: a commit after a statement that
            // failed is none, and says nothing.
            let (written, ended) = tokio::join!(join_all(writes), end);
            try_join_all(written.into_iter().map(std::future::ready)).await?;
            ended
        })
    }
}

impl Journal for Session {
    fn write(&self, rows: &Rows) -> Result<(), StoreError> {
        self.send(rows, None)
    }

    #[cfg(test)]
    fn connection(&self) -> &dyn std::any::Any {
        self
    }
}
