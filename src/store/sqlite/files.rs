//! The files of a store: made private, held by one writer, and watched.
//!
//! A log whose file was deleted or replaced goes on taking writes on Unix, and all of them are lost.
//! So the writer knows which files it opened, and asks after each commit whether their names still
//! lead there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::beside;
use crate::store::error::StoreError;
use crate::store::settings::Missing;

/// The database of one writer. The lock is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) database: PathBuf,
    wal: PathBuf,
    _lock: File,
    opened: Inode,
    opened_wal: Option<Inode>,
}

/// One file among all that ever were: numbers are used again, so its birth is part of it where the file
/// system tells. The file is not kept open to hold its number, for closing any handle of it would drop
/// every POSIX lock that SQLite has on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    born: Option<SystemTime>,
}

impl Inode {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), number: metadata.ino(), born: metadata.created().ok() })
    }
}

pub(in crate::store) fn failed<'a>(
    path: &'a Path,
    doing: &'a str,
) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |error| StoreError::File { path: path.to_owned(), problem: format!("cannot {doing}: {error}") }
}

impl Files {
    /// Makes what is missing (folders 0700, files 0600) and takes the lock.
    ///
    /// # Errors
    /// `Locked` while another process, or another store in this one, writes to the same file; `Lost` for a database that
    /// is gone, unless a new one may take its place.
    pub(super) fn claim(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let folder = make_folder(path)?;
        if let Some(beside) = left_of_lost(path) {
            if missing == Missing::Refuse {
                return Err(StoreError::Lost { database: path.to_owned(), beside });
            }
            tracing::warn!(store = %path.display(), "a new store is made in place of one that is lost");
            set_log_aside(path)?;
        }
        let created = private().create_new(true).open(path);
        match created {
            // Else a power cut could lose the name of a log that events were already promised to be in.
            Ok(_) => File::open(&folder).and_then(|f| f.sync_all()).map_err(failed(&folder, "sync"))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(path, "make")(error)),
        }
        // Two names of one file share one lock.
        let database = fs::canonicalize(path).map_err(failed(path, "open"))?;
        let lock = lock(&database)?;
        let opened = Inode::of(&database).map_err(failed(&database, "open"))?;
        let wal = beside(&database, "-wal");
        Ok(Self { wal, database, _lock: lock, opened, opened_wal: None })
    }

    /// Whether the names still lead to the files that were opened.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        same(&self.database, Some(self.opened))?;
        if self.opened_wal.is_some() { same(&self.wal, self.opened_wal) } else { Ok(()) }
    }

    /// Remembers the write-ahead log that SQLite made; it stays the same file while a writer is open.
    pub(super) fn note_wal(&mut self) {
        self.opened_wal = Inode::of(&self.wal).ok();
    }

    /// Before the database is opened again: the next write-ahead log may be another file.
    pub(super) fn forget_wal(&mut self) {
        self.opened_wal = None;
    }
}

/// The folder of `path`, made where it is missing.
fn make_folder(path: &Path) -> Result<PathBuf, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder, "make"))?;
    Ok(folder.to_owned())
}

/// The file that `path` leads to, by its own name, whether or not it is there. Its folder is made.
pub(in crate::store) fn real_name(path: &Path) -> Result<PathBuf, StoreError> {
    let folder = make_folder(path)?;
    if path.symlink_metadata().is_ok() {
        return fs::canonicalize(path).map_err(failed(path, "open"));
    }
    let folder = fs::canonicalize(&folder).map_err(failed(&folder, "open"))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// The lock of whoever writes to this database, until it is dropped.
pub(in crate::store) fn lock(database: &Path) -> Result<File, StoreError> {
    let path = beside(database, ".lock");
    let lock = private().create(true).open(&path).map_err(failed(&path, "make"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(database.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(&path, "lock")(error)),
    }
}

/// What is left of a store whose database is gone or empty. An empty one in its place would free whoever is stopped.
fn left_of_lost(path: &Path) -> Option<PathBuf> {
    let is_gone = path.symlink_metadata().is_err();
    let is_empty = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0);
    if !is_gone && !is_empty {
        return None;
    }
    // A first start that was interrupted leaves an empty file and its lock. Everything else is made later.
    let lock = is_gone.then_some(".lock");
    let left = [".key", ".unjournaled", ".unjournaled.reserve", "-wal"].into_iter().chain(lock);
    let names = [Some(path.to_owned()), fs::canonicalize(path).ok()];
    let mut left = left.flat_map(|suffix| names.iter().flatten().map(move |name| beside(name, suffix)));
    left.find(|file| file.exists())
}

/// Keeps the write-ahead log of a lost database, which may hold its last events. SQLite would remove it, or move it into
/// whatever database takes the place of the lost one.
pub(in crate::store) fn set_log_aside(path: &Path) -> Result<(), StoreError> {
    for (suffix, aside) in [("-wal", "-wal.lost"), ("-shm", "-shm.lost")] {
        let log = beside(path, suffix);
        match fs::rename(&log, beside(path, aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&log, "set aside")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).mode(0o600);
    options
}

fn same(path: &Path, opened: Option<Inode>) -> Result<(), StoreError> {
    match Inode::of(path) {
        Ok(found) if Some(found) == opened => Ok(()),
        Ok(_) => Err(StoreError::unavailable(format!("{} was replaced by another file", path.display()))),
        Err(error) => Err(StoreError::unavailable(format!("{}: {error}", path.display()))),
    }
}
