//! What a batch adds to the tables that only grow: written at once, before whoever reads them and at the end.

use super::columns::Columns;
use crate::domain::digest::Digest;
use crate::domain::id::TokenId;
use crate::domain::merkle::Node;
use crate::domain::revocation::Revision;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;

#[derive(Debug, Default)]
pub(in crate::store) struct Rows {
    pub(in crate::store) events: Vec<EventRow>,
    pub(in crate::store) tiles: Vec<(Node, Digest)>,
    pub(in crate::store) blocks: Vec<BlockRow>,
    /// Number, `seq` of its event, and the token that ended by it.
    pub(in crate::store) changes: Vec<(Revision, u64, Option<TokenId>)>,
    /// Where there are events: the head that counts them.
    pub(in crate::store) head: Option<HeadRow>,
}

#[derive(Debug)]
pub(in crate::store) struct EventRow {
    pub(in crate::store) seq: u64,
    pub(in crate::store) leaf: Digest,
    pub(in crate::store) columns: Columns,
    pub(in crate::store) bytes: String,
}

/// A full block as it is found.
#[derive(Debug)]
pub(in crate::store) struct BlockRow {
    pub(in crate::store) block: u64,
    pub(in crate::store) span: (Timestamp, Timestamp),
    /// In the order in which the table has them.
    pub(in crate::store) terms: Vec<String>,
}

impl Rows {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.tiles.is_empty()
            && self.blocks.is_empty()
            && self.changes.is_empty()
            && self.head.is_none()
    }
}

/// A connection that writes.
pub(in crate::store) trait Journal: super::sql::Sql {
    fn write(&self, rows: &Rows) -> Result<(), StoreError>;

    #[cfg(test)]
    fn connection(&self) -> &dyn std::any::Any;
}
