//! Writing for the owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes a folder that only its owner can enter (0700), and those above it that are missing.
///
/// # Errors
/// When it cannot be made. One that is there already is left as it is.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a new file that only its owner can read (0600). It is on disk when this returns.
///
/// # Errors
/// `AlreadyExists` when something is there, which is never touched; or when it cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_private(path, bytes)?;
    sync_folder(path)
}

/// Puts a file with `bytes`, of its owner alone (0600), in the place of the one before, if there is one.
///
/// # Errors
/// When it cannot be written; the one before is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = next_of(path)?;
    // What a try that failed has left behind.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_private(&next, bytes)?;
    fs::rename(&next, path)?;
    sync_folder(path)
}

/// Where the next text of `path` is made: in the same folder, because a file moves in one step only there.
fn next_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut next = name.to_owned();
    next.push(".next");
    Ok(path.with_file_name(next))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Otherwise a power cut could lose the file's name.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
