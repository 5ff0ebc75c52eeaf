//! Files that hold a secret: read with a look at who else can read them, written for their owner alone.

use std::io::ErrorKind;
use std::path::Path;

use secrecy::SecretString;

use crate::cli::{Failure, Host, Outcome};
use crate::domain::redaction;
use crate::files::{self, Unreadable};

/// More than any key or token that hallpass takes; a path to something else is noticed early.
const MAX_BYTES: usize = 64 * 1024;

/// Who may read a file without a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// A key: anyone else who can read it can act as its owner for as long as it is registered.
    Owner,
    /// A token that lives minutes. Kubernetes mounts them readable by all, on purpose.
    Anyone,
}

/// The text of a secret file, without the white space around it. Never empty.
///
/// # Errors
/// When it cannot be read, is over 64 KiB, is not UTF-8 or is blank. The remedy is the caller's to say.
pub fn read(path: &Path, readers: Readers, host: &mut Host<'_>) -> Outcome<SecretString> {
    // Somebody may have given the key itself instead of its file.
    let place = redaction::redacted(&path.display().to_string(), redaction::is_credential);
    let unusable = |error: Unreadable| {
        Failure::failed(match error {
            Unreadable::Io(error) => format!("cannot read {place}: {error}"),
            Unreadable::TooLarge(_) => format!("{place} is over 64 KiB: it is not a key or a token"),
            Unreadable::NotText => format!("{place} is not text"),
            Unreadable::Empty => format!("{place} is empty"),
            Unreadable::NotAFile => format!("{place} is not a regular file"),
            Unreadable::Lines => format!("{place} holds more than one line"),
        })
    };
    let mode = files::mode(path).map_err(|error| unusable(error.into()))?;
    if readers == Readers::Owner && mode & 0o077 != 0 {
        host.warn(&format!("{place} can be read by others (mode {mode:03o}); run: chmod 600 {place}"));
    }
    let bytes = files::read(path, MAX_BYTES).map_err(unusable)?;
    files::secret(&bytes).map_err(unusable)
}

/// Writes a new file that only its owner can read (0600). An existing one is never touched.
///
/// # Errors
/// When something is there already, or it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Outcome {
    let place = path.display();
    files::write_new(path, text.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::failed(format!("{place} exists; a key is never overwritten"))
            .remedy("name another file with --out, or move this one away"),
        _ => Failure::failed(format!("cannot write {place}: {error}")),
    })
}
