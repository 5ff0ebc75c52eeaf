//! A database that is read beside the broker that serves it, or without one. Blocking.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::copy::copy;
use super::{mark, schema};
use crate::store::error::StoreError;
use crate::store::tables::sql::Sql;

/// A database opened for reading alone.
#[derive(Debug)]
pub(in crate::store) struct File {
    connection: Connection,
    path: PathBuf,
}

impl File {
    /// # Errors
    /// `File` where there is no such file or it cannot be read; `Newer` or `Foreign` for one that is not of this version.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::File { path: path.to_owned(), problem: "there is no such file".into() });
        }
        Ok(Self { connection: schema::open_reader(path)?, path: path.to_owned() })
    }

    /// On one state of the database.
    pub(in crate::store) fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.connection.unchecked_transaction().map_err(StoreError::from)?;
        read(&*transaction)
    }

    pub(in crate::store) fn was_copied_open(&self) -> Result<bool, StoreError> {
        mark::is_of_another(&self.connection, &self.path)
    }

    pub(in crate::store) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        copy(&self.connection, path)
    }
}
