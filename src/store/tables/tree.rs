//! The Merkle tree as it is kept: leaves beside the events, and an inner node for every 256 below it.

use super::sql::{Sql, values};
use super::tip;
use crate::domain::digest::Digest;
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::merkle::{self, Frontier, Node};
use crate::store::error::StoreError;

/// A perfect inner node, of at most 255 rows of the nearest kept level below it.
fn node(sql: &dyn Sql, node: Node) -> Result<Digest, StoreError> {
    let kept = node.level - node.level % TILE_HEIGHT;
    let count = 1u64 << (node.level - kept);
    let first = node.index << (node.level - kept);
    let mut part = Frontier::default();
    let append = |row: &dyn super::sql::Row| {
        part.append(row.digest(0)?.ok_or_else(|| StoreError::Damaged("a leaf is no hash".to_owned()))?);
        Ok(())
    };
    if kept == 0 {
        let leaves = "SELECT leaf FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        sql.each(leaves, values![first + 1, first + count + 1], append)?;
    } else {
        let nodes = "SELECT hash FROM tiles WHERE level = ?1 AND place >= ?2 AND place < ?3 ORDER BY place";
        sql.each(nodes, values![kept, first, first + count], append)?;
    }
    if part.size() != count {
        return Err(StoreError::Damaged(format!("the tree lacks nodes under {node:?}")));
    }
    Ok(part.root())
}

/// The root of the first `size` events.
pub(in crate::store) fn root_at(sql: &dyn Sql, size: u64) -> Result<Digest, StoreError> {
    merkle::root_of(size, |at| node(sql, at))
}

pub(in crate::store) fn inclusion_proof(
    sql: &dyn Sql,
    seq: u64,
    size: u64,
) -> Result<Vec<Digest>, StoreError> {
    check_size(sql, size)?;
    let index = seq.checked_sub(1).ok_or(merkle::OutOfRange)?;
    merkle::inclusion_proof(index, size, |at| node(sql, at))
}

pub(in crate::store) fn consistency_proof(
    sql: &dyn Sql,
    first: u64,
    second: u64,
) -> Result<Vec<Digest>, StoreError> {
    check_size(sql, second)?;
    merkle::consistency_proof(first, second, |at| node(sql, at))
}

fn check_size(sql: &dyn Sql, size: u64) -> Result<(), StoreError> {
    if size > tip::read_head(sql)?.size {
        return Err(merkle::OutOfRange.into());
    }
    Ok(())
}
