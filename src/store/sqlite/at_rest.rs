//! A store that cannot be written when it is opened: what a start needs of it is read once and kept in memory.
//!
//! On a full disk even reading fails, because SQLite makes a file beside the database for it. So this reads without that
//! file, and gives the database up at once. Nothing can change it meanwhile: this process has the lock of the writer.

use std::path::Path;

use super::schema;
use crate::store::error::StoreError;
use crate::store::tables::published::AtRest;
use crate::store::tables::tip::Tip;
use crate::store::tables::{keys, meta};

/// # Errors
/// As [`Tip::load`]; `Unavailable` for a database that has no tables yet, or those of an earlier schema.
pub(super) fn read(database: &Path) -> Result<(Tip, AtRest), StoreError> {
    let connection = schema::open_at_rest(database)?;
    let tip = Tip::load(&connection)?;
    let at_rest = AtRest { keys: keys::list(&connection)?, origin: meta::get(&connection, "origin")? };
    Ok((tip, at_rest))
}
