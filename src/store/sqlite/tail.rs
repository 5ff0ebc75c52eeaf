//! The last events of the log, at a start: none may know of a change of the kill switch that the head does not count.
//!
//! The newest full block and the open one after it are read by their bytes, which must be those under the kept nodes of the
//! tree. No column and no index decides which of them are read. Every event of them says a number: a change its own, any
//! other the last one that was known.

use rusqlite::Connection;

use super::blocks;
use super::row::sql_int;
use super::tiles;
use super::told::{Told, differs};
use crate::domain::merkle::{Frontier, Node, TILE_HEIGHT, leaf_hash};
use crate::domain::revocation::Revision;
use crate::store::error::StoreError;

/// Compares the end of the log, which has this frontier, with the head's `last` change.
///
/// # Errors
/// `Differs` where an event is not the one that was hashed, or knows of a later change.
pub(super) fn check(connection: &Connection, frontier: &Frontier, last: Revision) -> Result<(), StoreError> {
    let size = frontier.size();
    let open = blocks::full(size);
    let mut next = blocks::first_seq(open.saturating_sub(1));
    let mut statement =
        connection.prepare("SELECT seq, leaf, bytes FROM events WHERE seq >= ?1 ORDER BY seq")?;
    let mut rows = statement.query([sql_int(next)])?;
    let mut part = Frontier::default();
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        if seq != next {
            return Err(differs(format!("the event {next} is missing")));
        }
        next += 1;
        let bytes = row.get_ref(2)?.as_str().unwrap_or_default();
        let told = Told::of(seq, bytes, row.get_ref(1)?.as_blob().ok())?;
        if told.revision.max(told.as_of).is_some_and(|known| known > last) {
            return Err(differs(format!("the event {seq} knows of a change that is missing")));
        }
        part.append(leaf_hash(bytes.as_bytes()));
        if seq == blocks::first_seq(open) - 1 {
            let node = Node { level: TILE_HEIGHT, index: open - 1 };
            if tiles::at(connection, node)? != Some(part.root()) {
                return Err(differs(format!("the events up to {seq} are not those of the tree")));
            }
            part = Frontier::default();
        }
    }
    if frontier.peaks().ends_with(part.peaks()) && next == size + 1 {
        Ok(())
    } else {
        Err(differs(format!("the last events, up to {size}, are not those that the head counts")))
    }
}
