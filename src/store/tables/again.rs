//! Stops of a target that was stopped already. Each has an event and no row of its own, and its id is known all the same:
//! who kept it in a file or in Redis while the store was down may bring it again, when the stop in force was lifted.

use std::ops::ControlFlow;

use super::blocks::{self, Blocks, Term};
use super::sql::{Sql, values};
use crate::domain::event::Kind;
use crate::domain::id::StopId;
use crate::store::error::StoreError;
use crate::store::record;

/// The stop that was in force when the stop `id` was journaled, of a log of `size` events.
pub(in crate::store) fn in_place_of(
    sql: &dyn Sql,
    size: u64,
    id: StopId,
) -> Result<Option<StopId>, StoreError> {
    let indexed = Blocks::With(Term::Again(id)).newest(sql, u64::MAX)?;
    let stops = "SELECT seq, bytes FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = ?3";
    // Within a string of the event its quotes would be escaped.
    let said = format!("\"again\":\"{id}\"");
    for block in [blocks::full(size)].into_iter().chain(indexed) {
        let (first, end) = (blocks::first_seq(block), blocks::first_seq(block + 1));
        let mut found = None;
        sql.rows(stops, values![first, end, Kind::RevocationStopped.as_str()], &mut |row| {
            let bytes = row.text_if_any(1);
            if bytes.contains(&said) {
                found = record::parse(row.number(0)?, bytes).ok().and_then(|event| event.stop);
            }
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
