//! A whole copy of a database in one file, of one that a broker writes to as well.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::files::failed;
use super::{mark, schema};
use crate::store::error::StoreError;

/// Writes all that `source` holds at one moment to a new file of its owner alone (0600), which is on disk when this
/// returns. What a plain copy of the file lacks is still in the write-ahead log.
pub(super) fn copy(source: &Connection, path: &Path) -> Result<(), StoreError> {
    // SQLite fills an empty file, and this one is private from the start.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(failed(path, "make"))?;
    let copied = fill(source, path).and_then(|()| sync(path).map_err(failed(path, "sync")));
    if copied.is_err() {
        let _ = fs::remove_file(path);
    }
    copied
}

/// The same of the file `from`, of an earlier schema too. Says whether that is a plain copy of a database that a broker
/// had open.
pub(in crate::store) fn copy_file(from: &Path, to: &Path) -> Result<bool, StoreError> {
    let source = schema::open_source(from)?;
    let was_copied_open = mark::is_of_another(&source, from)?;
    copy(&source, to)?;
    Ok(was_copied_open)
}

fn fill(source: &Connection, path: &Path) -> Result<(), StoreError> {
    let mut copy = schema::open_empty(path)?;
    // In one step: with several, each commit of a broker would begin the copy anew.
    match Backup::new(source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        other => {
            return Err(StoreError::unavailable(format!("another program holds the database: {other:?}")));
        }
    }
    // One file, to be read where nothing can be written: a write-ahead log needs two more.
    copy.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get::<_, String>(0))?;
    mark::clear(&copy)?;
    Ok(copy.close().map_err(|(_, error)| error)?)
}

/// Otherwise a power cut could lose the file, or its name.
pub(in crate::store) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
