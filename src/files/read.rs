//! Reading, bounded and without leaking.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

/// Why a file is of no use. Reads on after «PATH cannot be used: ».
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is over {} KiB", .0 >> 10)]
    TooLarge(usize),
    #[error("it is not text")]
    NotText,
    #[error("it is empty")]
    Empty,
    #[error("it holds more than one line")]
    Lines,
}

/// The bytes of a file, or of a pipe up to its end, where they are at most `most`.
///
/// # Errors
/// When it cannot be read, or there are more.
pub fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    read_open(File::open(path)?, most)
}

/// The same of a regular file alone: opening a pipe would wait for its writer.
///
/// # Errors
/// As [`read`], and when it is a folder, a pipe or a device.
pub fn read_regular(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Unreadable::NotAFile);
    }
    read(path, most)
}

fn read_open(file: File, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    // Sized at once, because growing would leave copies in freed memory. A pipe does not tell its size.
    let size = match usize::try_from(file.metadata()?.len()) {
        Ok(0) | Err(_) => most,
        Ok(size) => size.min(most),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(Unreadable::TooLarge(most)) } else { Ok(bytes) }
}

/// The secret in `bytes`, without the white space around it.
///
/// # Errors
/// When it is not UTF-8, or nothing is left.
pub fn secret(bytes: &[u8]) -> Result<SecretString, Unreadable> {
    not_empty(text(bytes)?.trim())
}

/// The password in `bytes`, without the line break that editors add. It may end in a space.
///
/// # Errors
/// As [`secret`], and when there are several lines: which of them is the password cannot be told.
pub fn password(bytes: &[u8]) -> Result<SecretString, Unreadable> {
    let line = text(bytes)?.trim_end_matches(['\r', '\n']);
    if line.contains(['\r', '\n']) { Err(Unreadable::Lines) } else { not_empty(line) }
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

fn not_empty(text: &str) -> Result<SecretString, Unreadable> {
    if text.is_empty() { Err(Unreadable::Empty) } else { Ok(text.into()) }
}

/// Who may do what with a file: the nine bits of `chmod`.
///
/// # Errors
/// When there is no such file.
pub fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}
