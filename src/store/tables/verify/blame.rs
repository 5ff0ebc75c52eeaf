//! Which of the two was changed where an event and its stored hash differ: the tree over them tells.

use crate::domain::merkle::{Frontier, Node, TILE_HEIGHT, leaf_hash};
use crate::store::error::StoreError;
use crate::store::tables::sql::{Cell, Sql, values};
use crate::store::tables::{blocks, tiles, tip};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The stored hashes are those of the tree.
    Bytes,
    /// The bytes are.
    Leaves,
    /// Neither all of the ones nor all of the others.
    Unclear,
}

/// What was found of one block.
#[derive(Debug, Default)]
pub(super) struct Blamed(Option<(u64, Blame)>);

impl Blamed {
    /// What was changed in the block of the event `seq`.
    pub(super) fn of(&mut self, sql: &dyn Sql, seq: u64) -> Result<Blame, StoreError> {
        let block = blocks::of_seq(seq);
        if let Some((_, known)) = self.0.filter(|(known, _)| *known == block) {
            return Ok(known);
        }
        let blame = find(sql, block)?;
        self.0 = Some((block, blame));
        Ok(blame)
    }
}

fn find(sql: &dyn Sql, block: u64) -> Result<Blame, StoreError> {
    let events = "SELECT leaf, bytes FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
    let (mut stored, mut hashed) = (Frontier::default(), Frontier::default());
    sql.each(events, values![blocks::first_seq(block), blocks::first_seq(block + 1)], |row| {
        // One that is no hash leaves too few of them.
        if let Some(leaf) = row.digest(0)? {
            stored.append(leaf);
        }
        let (Cell::Text(bytes) | Cell::Blob(bytes)) = row.cell(1)? else { return Ok(()) };
        hashed.append(leaf_hash(bytes));
        Ok(())
    })?;
    let tile = tiles::at(sql, Node { level: TILE_HEIGHT, index: block })?;
    // A head that cannot be read is told with the rest of it.
    let head = tip::read_head(sql).ok();
    let fits = |part: &Frontier| match (&head, tile) {
        (_, Some(tile)) => part.size() == blocks::SIZE && part.root() == tile,
        (Some(head), None) => part.size() == head.size % blocks::SIZE && head.peaks.ends_with(part.peaks()),
        (None, None) => false,
    };
    Ok(if fits(&stored) {
        Blame::Bytes
    } else if fits(&hashed) {
        Blame::Leaves
    } else {
        Blame::Unclear
    })
}
