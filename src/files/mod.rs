//! Files that are nobody else's business: secrets, and what is as good as one.
//!
//! What it promises:
//!
//! - What is written is its owner's alone (0600) from its first moment, and is on disk when the call returns.
//! - What is replaced is replaced whole: a reader, or a machine that lost its power, finds the old text or the new.
//! - What is read is bounded, and leaves no copy in memory that nobody wipes.
//! - No error holds a byte of the file.
//!
//! Everything here blocks. The store's database and its lock are the store's own.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

pub use read::{Unreadable, mode, password, read, read_regular, secret};
pub use write::{make_folder, replace, write_new};

/// The path with `suffix` after its file name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
