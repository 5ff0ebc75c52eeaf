//! A store of an earlier schema becomes one of this, whole or not at all. The events stay byte for byte.

use rusqlite::{Connection, TransactionBehavior};

use super::blocks::{self, Entry};
use super::tip::read_head;
use crate::store::error::StoreError;

/// Schema 1 found events by an index for each filter.
const DROP_INDEXES: &str = "
DROP INDEX IF EXISTS events_at;
DROP INDEX IF EXISTS events_agent;
DROP INDEX IF EXISTS events_owner;
DROP INDEX IF EXISTS events_token;
DROP INDEX IF EXISTS events_request;
DROP INDEX IF EXISTS events_kind;
DROP INDEX IF EXISTS events_outcome;
DROP TABLE IF EXISTS event_resources;
";

/// Brings a store of schema 1 to schema 2: events are found by blocks.
///
/// # Errors
/// `Damaged` where an event cannot be read; nothing is changed then.
pub(super) fn from_1(connection: &mut Connection, path: &std::path::Path) -> Result<(), StoreError> {
    tracing::info!(store = %path.display(), "bringing the store to schema 2; a long log takes a moment");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(DROP_INDEXES)?;
    transaction.execute_batch(blocks::TABLES)?;
    let size = read_head(&transaction)?.size;
    for block in 0..blocks::full(size) {
        Entry::of(&transaction, block, size)?.write(&transaction, block)?;
    }
    transaction.pragma_update(None, "user_version", 2)?;
    Ok(transaction.commit()?)
}
