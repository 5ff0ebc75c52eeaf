//! Reading a store beside the broker that serves it, or without one. Blocking.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::copy::copy;
use super::{events, keys, mark, schema, stops, tree};
use crate::domain::digest::Digest;
use crate::domain::event::EventFilter;
use crate::domain::revocation::Stop;
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::write::{Head, Recorded};

/// A store opened for reading alone. Each call sees one state of it; [`crate::store::verify()`] sees one
/// throughout.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// # Errors
    /// `Unavailable` where there is no such file or it cannot be read; `Newer` or `Foreign` for one that
    /// is not of this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::File { path: path.to_owned(), problem: "there is no such file".into() });
        }
        Ok(Self { connection: schema::open_reader(path)?, path: path.to_owned() })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// As [`crate::store::Store::events`].
    pub fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let transaction = self.connection.unchecked_transaction()?;
        events::find(&transaction, filter, limit, before)
    }

    /// How far the log is committed.
    pub fn head(&self) -> Result<Head, StoreError> {
        events::head(&self.connection)
    }

    /// The log's origin, once it has one.
    pub fn origin(&self) -> Result<Option<String>, StoreError> {
        Ok(schema::meta(&self.connection, "origin")?)
    }

    /// The sealed keys, the oldest first.
    pub fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        Ok(keys::list(&self.connection)?)
    }

    /// The stops, newest first.
    pub fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        stops::list(&self.connection, active_only)
    }

    /// As [`crate::store::Store::inclusion_proof`].
    pub fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        let transaction = self.connection.unchecked_transaction()?;
        tree::inclusion_proof(&transaction, seq, size)
    }

    /// As [`crate::store::Store::consistency_proof`].
    pub fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        let transaction = self.connection.unchecked_transaction()?;
        tree::consistency_proof(&transaction, first, second)
    }

    /// Whether this is a plain copy of a database that a broker had open: what the broker had not moved into the file when
    /// it was copied is missing.
    pub fn was_copied_open(&self) -> Result<bool, StoreError> {
        mark::is_of_another(&self.connection, &self.path)
    }

    /// Writes a whole copy of the store as it is now to `path`, a new file of its owner alone (0600). It is on disk when
    /// this returns.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        copy(&self.connection, path)
    }
}
