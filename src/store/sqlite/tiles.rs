//! The inner nodes of the tree that are kept: one for every 256 below it.

use rusqlite::{Connection, OptionalExtension, params};

use super::row::{digest, sql_int};
use crate::domain::digest::Digest;
use crate::domain::merkle::Node;
use crate::store::error::StoreError;

/// The one at this place.
pub(super) fn at(connection: &Connection, node: Node) -> Result<Option<Digest>, StoreError> {
    let sql = "SELECT hash FROM tiles WHERE level = ?1 AND place = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok(digest(row.get_ref(0)?.as_blob().unwrap_or_default()));
    Ok(statement.query_row(params![node.level, sql_int(node.index)], read).optional()?.flatten())
}
