//! A whole store into another, byte for byte: the same events in the same order, and so the same root.

use super::blocks::{self, Entry};
use super::columns::Columns;
use super::keys;
use super::rows::{EventRow, Journal, Rows};
use super::sql::{Cell, Row, Sql, Value, values};
use super::tip::read_head;
use crate::domain::merkle::{Frontier, TILE_HEIGHT};
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::record;

/// Rows that are read and written at once.
const PART: u64 = 1024;

/// Writes all of `from`, which was verified, to `to`, which has the tables of an empty store. `from` sees one state of
/// itself; `to` is within one transaction.
///
/// # Errors
/// `Damaged` where an event of `from` cannot be read; whatever writing fails by.
pub(in crate::store) fn transfer(from: &dyn Sql, to: &dyn Journal) -> Result<(), StoreError> {
    let head = read_head(from)?;
    events(from, to, &head)?;
    changes(from, to)?;
    stops(from, to)?;
    for key in keys::list(from)? {
        keys::put(to, &key)?;
    }
    for (name, value) in super::meta::all(from)? {
        super::meta::set(to, &name, value)?;
    }
    to.write(&Rows { head: Some(head), ..Rows::default() })
}

fn events(from: &dyn Sql, to: &dyn Journal, head: &HeadRow) -> Result<(), StoreError> {
    let events = "SELECT seq, leaf, bytes FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
    let (mut frontier, mut entry) = (Frontier::default(), Entry::default());
    let mut next = 1;
    while next <= head.size {
        let mut rows = Rows::default();
        from.each(events, values![next, next + PART], |row| {
            let (seq, bytes) = (row.number(0)?, row.text(2)?);
            let damaged = |problem| StoreError::Damaged(format!("event {seq}: {problem}"));
            let event = record::parse(seq, bytes).map_err(damaged)?;
            let leaf = row.digest(1)?.ok_or_else(|| damaged("its hash is none".to_owned()))?;
            frontier.append_with(leaf, |node, hash| {
                if node.level.is_multiple_of(TILE_HEIGHT) {
                    rows.tiles.push((node, *hash));
                }
            });
            entry.note(event.at, &blocks::terms(&event));
            if seq.is_multiple_of(blocks::SIZE) {
                rows.blocks.push(std::mem::take(&mut entry).row(to, blocks::of_seq(seq)));
            }
            rows.events.push(EventRow { seq, leaf, columns: Columns::of(&event), bytes: bytes.to_owned() });
            Ok(())
        })?;
        to.write(&rows)?;
        next += PART;
    }
    if frontier.root() == head.root {
        Ok(())
    } else {
        Err(StoreError::Damaged("its events are not those of its head".to_owned()))
    }
}

fn changes(from: &dyn Sql, to: &dyn Journal) -> Result<(), StoreError> {
    let changes = "SELECT revision, seq, ended FROM changes WHERE revision > ?1 ORDER BY revision LIMIT ?2";
    let mut last = None;
    loop {
        let mut rows = Rows::default();
        let after = last.unwrap_or_default();
        from.each(changes, values![after, PART], |row| {
            rows.changes.push((row.revision(0)?, row.number(1)?, row.parsed_or_none(2)?));
            Ok(())
        })?;
        let Some((revision, ..)) = rows.changes.last() else { return Ok(()) };
        last = Some(*revision);
        to.write(&rows)?;
    }
}

fn stops(from: &dyn Sql, to: &dyn Journal) -> Result<(), StoreError> {
    const COLUMNS: &str = "id, target, at, reason, operator, seq, revision,
        lift_at, lift_reason, lift_operator, lift_seq, lift_revision";
    let insert =
        format!("INSERT INTO stops({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
    from.each(&format!("SELECT {COLUMNS} FROM stops ORDER BY seq"), &[], |row| {
        let values: Vec<Value<'_>> = (0..12).map(|n| copied(row, n)).collect::<Result<_, _>>()?;
        to.execute(&insert, &values)
    })
}

fn copied(row: &dyn Row, n: usize) -> Result<Value<'_>, StoreError> {
    Ok(match row.cell(n)? {
        Cell::Null => Value::Null,
        Cell::Int(number) => Value::Int(number),
        Cell::Text(_) => row.text(n)?.into(),
        Cell::Blob(bytes) => Value::Blob(bytes),
        Cell::Other => return Err(StoreError::Damaged("a stop holds what hallpass never writes".to_owned())),
    })
}
