//! Stops that were taken while the store was down, in a small file beside it, so that they outlive the process.
//!
//! Each change of the list replaces the file whole: written beside it, synced, renamed, and the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::revocation::Stop;
use crate::store::error::StoreError;

/// A stop that is in effect and has no number yet, and the event that it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unnumbered {
    pub stop: Stop,
    pub event: Event,
    /// The holder of the token ended it: it is no stop in the list of stops.
    pub ended: bool,
}

/// The file of one store. Blocking.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
}

impl Spool {
    /// The file beside the database, and what an earlier process left in it.
    ///
    /// # Errors
    /// `File` where it cannot be read: what it holds must not be lost, so the start must not go on without it.
    pub fn open(database: &Path) -> Result<(Self, Vec<Unnumbered>), StoreError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".unjournaled");
        let spool = Self { path: name.into() };
        let text = match fs::read_to_string(&spool.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((spool, Vec::new())),
            Err(error) => return Err(spool.failed(&error)),
        };
        let left: Result<Vec<Unnumbered>, _> = text.lines().map(serde_json::from_str).collect();
        let left = left.map_err(|error| StoreError::File {
            path: spool.path.clone(),
            problem: format!("it holds stops that are in effect, and cannot be read: {error}"),
        })?;
        Ok((spool, left))
    }

    /// Makes `waiting` all that the file holds; durable when this returns.
    ///
    /// # Errors
    /// `File`: what it held before still stands.
    pub fn replace(&self, waiting: &[Unnumbered]) -> Result<(), StoreError> {
        let replaced = if waiting.is_empty() { self.remove() } else { self.write(waiting) };
        replaced.map_err(|error| self.failed(&error))
    }

    fn write(&self, waiting: &[Unnumbered]) -> io::Result<()> {
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(".new");
        let mut text = Vec::new();
        for stop in waiting {
            serde_json::to_writer(&mut text, stop)?;
            text.push(b'\n');
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.sync_folder()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => self.sync_folder(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), problem: error.to_string() }
    }
}
