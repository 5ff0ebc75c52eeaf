//! A store of an earlier schema becomes one of this, whole or not at all. The events stay byte for byte.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::tables;
use crate::store::error::StoreError;
use crate::store::tables::blocks::{self, Entry};
use crate::store::tables::rows::{Journal, Rows};

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

/// Schema 2 ordered stops by their instants.
const SET_ASIDE: &str = "
ALTER TABLE stops RENAME TO old_stops;
ALTER TABLE head RENAME TO old_head;
DROP INDEX stops_active;
DROP INDEX stops_target;
DROP INDEX stops_at;
DROP INDEX stops_lasting;
";

/// Brings a store of schema `found` to this version's.
///
/// # Errors
/// `Damaged` where an event cannot be read; nothing is changed then.
pub(super) fn from(
    connection: &mut Connection,
    path: &std::path::Path,
    found: i64,
) -> Result<(), StoreError> {
    tracing::info!(store = %path.display(), found, "bringing the store to schema 4; a long log takes a moment");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if found < 2 {
        transaction.execute_batch(DROP_INDEXES)?;
        transaction.execute_batch(tables::BLOCKS)?;
    }
    enter_blocks(&transaction)?;
    if found < 3 {
        number_changes(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", 4)?;
    Ok(transaction.commit()?)
}

/// To schema 4: events are found by blocks, since schema 2, and by what a stop hits, by parents and by holders.
fn enter_blocks(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute_batch("DELETE FROM terms; DELETE FROM blocks;")?;
    let size: i64 = transaction.query_row("SELECT size FROM head WHERE id = 1", [], |row| row.get(0))?;
    let size = size.unsigned_abs();
    for block in 0..blocks::full(size) {
        let row = Entry::of(&**transaction, block, size)?.row(&**transaction, block);
        transaction.write(&Rows { blocks: vec![row], ..Rows::default() })?;
    }
    Ok(())
}

/// To schema 3: the changes of the kill switch get their numbers in the order of the log, and tokens that their
/// holders ended are stops no more.
fn number_changes(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute_batch(SET_ASIDE)?;
    transaction.execute_batch(tables::HEAD)?;
    transaction.execute_batch(tables::STOPS)?;
    let ended = "operator IS NULL AND target GLOB 'token:*'";
    transaction.execute_batch(&format!(
        "CREATE TEMP TABLE numbered AS SELECT row_number() OVER (ORDER BY seq) AS revision, seq, ended FROM (
             SELECT seq, CASE WHEN {ended} THEN substr(target, 7) END AS ended FROM old_stops
             UNION ALL SELECT lift_seq, NULL FROM old_stops WHERE lift_seq IS NOT NULL AND NOT ({ended}));
         CREATE INDEX temp.numbered_seq ON numbered(seq);
         INSERT INTO changes(revision, seq, ended) SELECT revision, seq, ended FROM numbered;
         INSERT INTO stops SELECT id, target, at, reason, operator, seq,
             (SELECT revision FROM numbered n WHERE n.seq = s.seq),
             lift_at, lift_reason, lift_operator, lift_seq,
             (SELECT revision FROM numbered n WHERE n.seq = s.lift_seq)
             FROM old_stops s WHERE NOT ({ended});
         DROP TABLE numbered;
         DROP TABLE old_stops;"
    ))?;
    let last: i64 =
        transaction.query_row("SELECT coalesce(max(revision), 0) FROM changes", [], |row| row.get(0))?;
    transaction.execute(
        "INSERT INTO head SELECT id, size, root, peaks, latest, skew, ?1, ?2 FROM old_head",
        params![last, 0],
    )?;
    transaction.execute_batch("DROP TABLE old_head;")?;
    Ok(())
}
