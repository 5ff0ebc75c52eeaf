//! Files that hold a secret: read with a look at who else can read them, written for their owner alone.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::cli::{Failure, Host, Outcome};

/// More than any key or token that hallpass takes; a path to something else is noticed early.
const MAX_BYTES: u64 = 64 * 1024;

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
    let place = path.display();
    let unreadable = |error: std::io::Error| Failure::failed(format!("cannot read {place}: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if readers == Readers::Owner && mode & 0o077 != 0 {
        host.warn(&format!(
            "{place} can be read by others (mode {:03o}); run: chmod 600 {place}",
            mode & 0o777
        ));
    }
    // Sized at once: growing would leave copies of the secret behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::failed(format!("{place} is over 64 KiB: it is not a key or a token")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::failed(format!("{place} is not text")))?;
    match text.trim() {
        "" => Err(Failure::failed(format!("{place} is empty"))),
        text => Ok(text.into()),
    }
}

/// Writes a new file that only its owner can read (0600). An existing one is never touched.
///
/// # Errors
/// When something is there already, or it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Outcome {
    let place = path.display();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            ErrorKind::AlreadyExists => {
                Failure::failed(format!("{place} exists; a key is never overwritten"))
                    .remedy("name another file with --out, or move this one away")
            }
            _ => Failure::failed(format!("cannot write {place}: {error}")),
        },
    )?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Failure::failed(format!("cannot write {place}: {error}")))
}
