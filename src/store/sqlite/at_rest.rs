//! A store that cannot be written when it is opened: what a start needs of it is read once and kept in memory.
//!
//! On a full disk even reading fails, because SQLite makes a file beside the database for it. So this reads without that
//! file, and gives the database up at once. Nothing can change it meanwhile: this process has the lock of the writer.

use std::path::Path;

use super::tip::Tip;
use super::{keys, schema};
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;

#[derive(Debug)]
pub(super) struct AtRest {
    pub(super) keys: Vec<SealedKey>,
    pub(super) origin: Option<String>,
}

impl AtRest {
    /// # Errors
    /// As [`Tip::load`]; `Unavailable` for a database that has no tables yet, or those of an earlier schema.
    pub(super) fn read(database: &Path) -> Result<(Tip, Self), StoreError> {
        let connection = schema::open_at_rest(database)?;
        let tip = Tip::load(&connection)?;
        let at_rest = Self { keys: keys::list(&connection)?, origin: schema::meta(&connection, "origin")? };
        Ok((tip, at_rest))
    }
}
