//! Stops of a target that was stopped already. Each has an event and no row of its own, and its id is known all the same:
//! who kept it in a file or in Redis while the store was down may bring it again, when the stop in force was lifted.

use rusqlite::{Connection, params};

use super::blocks::{self, Blocks, Term};
use super::row::sql_int;
use crate::domain::event::Kind;
use crate::domain::id::StopId;
use crate::store::record;

/// The stop that was in force when the stop `id` was journaled, of a log of `size` events.
pub(super) fn in_place_of(
    connection: &Connection,
    size: u64,
    id: StopId,
) -> rusqlite::Result<Option<StopId>> {
    let indexed = Blocks::With(Term::Again(id)).newest(connection, u64::MAX)?;
    let sql =
        "SELECT seq, bytes FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = ?3 AND instr(bytes, ?4) > 0";
    let mut statement = connection.prepare_cached(sql)?;
    // Within a string of the event its quotes would be escaped.
    let said = format!("\"again\":\"{id}\"");
    for block in [blocks::full(size)].into_iter().chain(indexed) {
        let (first, end) = (blocks::first_seq(block), blocks::first_seq(block + 1));
        let bounds = params![sql_int(first), sql_int(end), Kind::RevocationStopped.as_str(), said];
        let mut rows = statement.query(bounds)?;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.unsigned_abs();
            let event = record::parse(seq, row.get_ref(1)?.as_str().unwrap_or_default());
            if let Some(stop) = event.ok().and_then(|event| event.stop) {
                return Ok(Some(stop));
            }
        }
    }
    Ok(None)
}
