//! The Merkle tree on disk: leaves beside the events, and an inner node for every 256 below it.

use rusqlite::{Connection, params};

use super::row::{digest, sql_int};
use crate::domain::digest::Digest;
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::merkle::{self, Frontier, Node};
use crate::store::error::StoreError;

/// A perfect inner node, of at most 255 rows of the nearest kept level below it.
fn node(connection: &Connection, node: Node) -> Result<Digest, StoreError> {
    let kept = node.level - node.level % TILE_HEIGHT;
    let count = 1u64 << (node.level - kept);
    let first = node.index << (node.level - kept);
    let (sql, offset) = if kept == 0 {
        ("SELECT leaf FROM events WHERE seq >= ?1 AND seq < ?2 AND ?3 = 0 ORDER BY seq", 1)
    } else {
        ("SELECT hash FROM tiles WHERE place >= ?1 AND place < ?2 AND level = ?3 ORDER BY place", 0)
    };
    let mut statement = connection.prepare_cached(sql)?;
    let bounds = params![sql_int(first + offset), sql_int(first + count + offset), kept];
    let mut rows = statement.query(bounds)?;
    let mut part = Frontier::default();
    while let Some(row) = rows.next()? {
        let hash = digest(row.get_ref(0)?.as_blob().unwrap_or_default());
        part.append(hash.ok_or_else(|| StoreError::Damaged("a leaf is no hash".to_owned()))?);
    }
    if part.size() != count {
        return Err(StoreError::Damaged(format!("the tree lacks nodes under {node:?}")));
    }
    Ok(part.root())
}

/// The root of the first `size` events.
pub(super) fn root_at(connection: &Connection, size: u64) -> Result<Digest, StoreError> {
    merkle::root_of(size, |at| node(connection, at))
}

pub(super) fn inclusion_proof(
    connection: &Connection,
    seq: u64,
    size: u64,
) -> Result<Vec<Digest>, StoreError> {
    check_size(connection, size)?;
    let index = seq.checked_sub(1).ok_or(merkle::OutOfRange)?;
    merkle::inclusion_proof(index, size, |at| node(connection, at))
}

pub(super) fn consistency_proof(
    connection: &Connection,
    first: u64,
    second: u64,
) -> Result<Vec<Digest>, StoreError> {
    check_size(connection, second)?;
    merkle::consistency_proof(first, second, |at| node(connection, at))
}

fn check_size(connection: &Connection, size: u64) -> Result<(), StoreError> {
    if size > super::tip::read_head(connection)?.size {
        return Err(merkle::OutOfRange.into());
    }
    Ok(())
}
