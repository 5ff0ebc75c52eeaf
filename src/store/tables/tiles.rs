//! The inner nodes of the tree that are kept: one for every 256 below it.

use super::sql::{Sql, values};
use crate::domain::digest::Digest;
use crate::domain::merkle::Node;
use crate::store::error::StoreError;

/// The one at this place.
pub(super) fn at(sql: &dyn Sql, node: Node) -> Result<Option<Digest>, StoreError> {
    let hash = "SELECT hash FROM tiles WHERE level = ?1 AND place = ?2";
    Ok(sql.one(hash, values![node.level, node.index], |row| row.digest(0))?.flatten())
}
