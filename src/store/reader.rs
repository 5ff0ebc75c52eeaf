//! Reading a store beside the broker that serves it, or without one. Blocking.

use std::path::Path;

use super::error::StoreError;
use super::postgres::{self, Session};
use super::settings::StoreSettings;
use super::sqlite::File;
use super::tables::sql::Sql;
use super::tables::{self, events, keys, meta, stops, tree};
use super::verify::{Verified, VerifyError};
use super::write::{Head, Recorded};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::digest::Digest;
use crate::domain::event::EventFilter;
use crate::domain::revocation::Stop;
use crate::domain::signing::SealedKey;

/// A store opened for reading alone. Each call sees one state of it.
#[derive(Debug)]
pub struct Reader(Database);

#[derive(Debug)]
enum Database {
    Sqlite(File),
    Postgres(Box<Session>),
}

impl Reader {
    /// The store in a file.
    ///
    /// # Errors
    /// `File` where there is no such file or it cannot be read; `Newer` or `Foreign` for one that is not of this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        File::open(path).map(|file| Self(Database::Sqlite(file)))
    }

    /// The store of these settings. Not to be called where the runtime must not be blocked.
    ///
    /// # Errors
    /// As [`Self::open`]; `Refused` and `Unavailable` as of a broker that opens it.
    pub fn open_store(settings: &StoreSettings) -> Result<Self, StoreError> {
        match settings {
            StoreSettings::Sqlite { path } => Self::open(path),
            StoreSettings::Postgres(settings) => {
                postgres::open_reader(settings).map(|session| Self(Database::Postgres(Box::new(session))))
            }
        }
    }

    /// Within a transaction that sees one state of the store.
    pub(super) fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.0 {
            Database::Sqlite(file) => file.read(read),
            Database::Postgres(session) => session.read(read),
        }
    }

    /// As [`crate::store::Store::events`].
    pub fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read(|sql| events::find(sql, filter, limit, before))
    }

    /// How far the log is committed.
    pub fn head(&self) -> Result<Head, StoreError> {
        self.read(events::head)
    }

    /// The log's origin, once it has one.
    pub fn origin(&self) -> Result<Option<String>, StoreError> {
        self.read(|sql| meta::get(sql, "origin"))
    }

    /// The sealed keys, the oldest first.
    pub fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.read(keys::list)
    }

    /// The stops, newest first.
    pub fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        self.read(|sql| stops::list(sql, active_only))
    }

    /// As [`crate::store::Store::inclusion_proof`].
    pub fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(|sql| tree::inclusion_proof(sql, seq, size))
    }

    /// As [`crate::store::Store::consistency_proof`].
    pub fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(|sql| tree::consistency_proof(sql, first, second))
    }

    /// Recomputes the whole log as it is when this starts, whatever a broker appends meanwhile, and compares it with a
    /// checkpoint whose signature was checked. Memory does not grow with the log. `progress` gets the events done and how
    /// many there are.
    ///
    /// # Errors
    /// Everything that is not as it was written. An event that is not the one that was hashed is left out, and the rest is
    /// judged. Where an event is missing, only what is told up to there can be judged.
    pub fn verify(
        &self,
        checkpoint: Option<&Checkpoint>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Verified, VerifyError> {
        self.read(|sql| tables::verify::verify(sql, checkpoint, progress))
    }

    /// Whether this is a plain copy of a database that a broker had open: what the broker had not moved into the file when
    /// it was copied is missing.
    pub fn was_copied_open(&self) -> Result<bool, StoreError> {
        match &self.0 {
            Database::Sqlite(file) => file.was_copied_open(),
            Database::Postgres(_) => Ok(false),
        }
    }

    /// Writes a whole copy of the store as it is now to `path`, a new file of its owner alone (0600). It is on disk when
    /// this returns.
    ///
    /// # Errors
    /// `Refused` for PostgreSQL, whose own tools copy it.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        match &self.0 {
            Database::Sqlite(file) => file.copy_to(path),
            Database::Postgres(_) => Err(StoreError::not_a_file()),
        }
    }
}
