//! What tells, without reading any file, that the folder is likely as it was.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::domain::digest::{Digest, Hashing};

/// A hash over the name of each file with its inode, size, and when content or name last changed, in nanoseconds; a
/// forged mtime hides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look(Result<Digest, io::ErrorKind>);

impl Look {
    pub(super) fn at(dir: &Path) -> Self {
        Self(names(dir).map(|names| hash(dir, &names)).map_err(|error| error.kind()))
    }
}

fn hash(dir: &Path, names: &[OsString]) -> Digest {
    let mut hashing = Hashing::default();
    let mut path = dir.to_path_buf();
    for name in names {
        path.push(name);
        hashing.frame(name.as_bytes());
        if let Ok(metadata) = fs::metadata(&path) {
            stat(&metadata).iter().for_each(|part| hashing.update(part));
        } else {
            hashing.update(b"gone");
        }
        path.pop();
    }
    hashing.finish()
}

fn stat(metadata: &Metadata) -> [[u8; 8]; 4] {
    [
        metadata.ino().to_be_bytes(),
        metadata.len().to_be_bytes(),
        metadata.ctime().to_be_bytes(),
        metadata.ctime_nsec().to_be_bytes(),
    ]
}

/// The names in `dir`, sorted.
pub(super) fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}
