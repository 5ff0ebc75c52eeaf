//! The mark of a database that a broker has open: which file it is. A copy of the file has the mark and is another file,
//! so that whoever reads the copy can tell that it may lack what was not moved into the file yet. The first commit of a
//! broker has the mark, which is in the file a quarter of a second later.
//!
//! It is a hint for people and proves nothing: whoever can write to the database can change it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::tables::meta;

/// Which file it is, also after the machine or the container was started anew: devices may have other numbers then.
fn identity(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Some(format!("{} {}", metadata.ino(), born.unwrap_or_default().as_nanos()))
}

/// Marks the database of this file as open.
pub(super) fn set(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let Some(identity) = identity(path) else { return Ok(()) };
    let sql =
        "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(sql, [meta::OPEN, &identity]).map(drop)
}

/// It is whole as it stands.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [meta::OPEN]).map(drop)
}

/// Whether this file was copied from a database that a broker had open.
pub(super) fn is_of_another(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let mark = meta::get(connection, meta::OPEN)?;
    Ok(mark.is_some() && mark != identity(path))
}
