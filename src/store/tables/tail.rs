//! The last events of the log, at a start: none may know of a change of the kill switch that the head does not count.
//!
//! The newest full block and the open one after it are read by their bytes, which must be those under the kept nodes of the
//! tree. No column and no index decides which of them are read. Every event of them says a number: a change its own, any
//! other the last one that was known.

use super::blocks;
use super::sql::{Sql, values};
use super::tiles;
use super::told::{Told, differs};
use crate::domain::merkle::{Frontier, Node, TILE_HEIGHT, leaf_hash};
use crate::domain::revocation::Revision;
use crate::store::error::StoreError;

/// Compares the end of the log, which has this frontier, with the head's `last` change.
///
/// # Errors
/// `Differs` where an event is not the one that was hashed, or knows of a later change.
pub(super) fn check(sql: &dyn Sql, frontier: &Frontier, last: Revision) -> Result<(), StoreError> {
    let size = frontier.size();
    let open = blocks::full(size);
    let mut next = blocks::first_seq(open.saturating_sub(1));
    let mut part = Frontier::default();
    let events = "SELECT seq, leaf, bytes FROM events WHERE seq >= ?1 ORDER BY seq";
    sql.each(events, values![next], |row| {
        let seq = row.number(0)?;
        if seq != next {
            return Err(differs(format!("the event {next} is missing")));
        }
        next += 1;
        let bytes = row.text_if_any(2);
        let told = Told::of(seq, bytes, row.digest(1)?)?;
        if told.revision.max(told.as_of).is_some_and(|known| known > last) {
            return Err(differs(format!("the event {seq} knows of a change that is missing")));
        }
        part.append(leaf_hash(bytes.as_bytes()));
        if seq == blocks::first_seq(open) - 1 {
            let node = Node { level: TILE_HEIGHT, index: open - 1 };
            if tiles::at(sql, node)? != Some(part.root()) {
                return Err(differs(format!("the events up to {seq} are not those of the tree")));
            }
            part = Frontier::default();
        }
        Ok(())
    })?;
    if frontier.peaks().ends_with(part.peaks()) && next == size + 1 {
        Ok(())
    } else {
        Err(differs(format!("the last events, up to {size}, are not those that the head counts")))
    }
}
