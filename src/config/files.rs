//! Files that the configuration names: they are opened and judged as `serve` does it, unless they are not on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::weak::{self, Others};
use crate::document::{Field, Located, Mistakes, Place, unexpanded};
use crate::domain::pem;
use crate::files::{self, Unreadable};
use crate::token::KeyEncryptionKey;

/// More than any key, password or certificate chain.
const MAX_BYTES: usize = 1 << 20;

/// More than a key that hallpass makes.
const MAX_KEY: usize = 4096;

const READABLE: &str = "name a file that hallpass may read, relative to this file or absolute";

/// The path of a file that can be read now.
pub(super) fn readable(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    is_readable(&path(field, mistakes)?, mistakes)
}

/// The same path, where its file can be read now.
pub(super) fn is_readable(path: &Located<PathBuf>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    if mistakes.judge_files() {
        open(path, mistakes)?;
    }
    Some(path.clone())
}

/// The path of a file of which `judge` finds nothing wrong. `remedy` says what belongs there.
pub(super) fn judged(
    field: Field<'_>,
    remedy: &str,
    judge: impl FnOnce(&[u8]) -> Result<(), String>,
    mistakes: &Mistakes,
) -> Option<Located<PathBuf>> {
    let path = readable(field, mistakes)?;
    if mistakes.judge_files() {
        let bytes = read(&path, MAX_BYTES, mistakes)?;
        if let Err(problem) = judge(&bytes) {
            mistakes.add(&path.place, format!("{} {problem}", path.value.display()), remedy);
            return None;
        }
    }
    Some(path)
}

/// The path of a PEM file of certificates to trust.
pub(super) fn roots(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    let judge = |bytes: &[u8]| pem::certificates(bytes).map(drop).map_err(|error| error.to_string());
    judged(field, "name a PEM file with the certificates to trust", judge, mistakes)
}

/// The path of a file, which need not be there.
pub(super) fn path(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    let text = field.text()?;
    named(&text.value, &text.place, mistakes)
}

/// The path that was written as `text`, from where `place` is. What a shell would replace in it is a mistake, because
/// another file or folder would be made.
pub(super) fn named(text: &str, place: &Place, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    if let Some(problem) = unexpanded(text) {
        mistakes.add(place, problem, "write the path itself, relative to this file or absolute");
        return None;
    }
    Some(Located { value: place.resolve(text), place: place.clone() })
}

/// A secret in PEM from a file, without the white space around it. Empty where files are not judged. `what` it is, for people.
pub(super) fn secret(field: Field<'_>, what: &str, mistakes: &Mistakes) -> Option<Located<SecretString>> {
    secret_as(files::secret, field, what, mistakes)
}

/// A password from a file, without the line break that editors add.
pub(super) fn password(field: Field<'_>, what: &str, mistakes: &Mistakes) -> Option<Located<SecretString>> {
    secret_as(files::password, field, what, mistakes)
}

fn secret_as(
    read_as: fn(&[u8]) -> Result<SecretString, Unreadable>,
    field: Field<'_>,
    what: &str,
    mistakes: &Mistakes,
) -> Option<Located<SecretString>> {
    let path = path(field, mistakes)?;
    if !mistakes.judge_files() {
        return Some(Located { value: SecretString::from(""), place: path.place });
    }
    weak::readable(&path, what, Others::Alone, mistakes);
    match read_as(&read(&path, MAX_BYTES, mistakes)?) {
        Ok(value) => Some(Located { value, place: path.place }),
        Err(error) => complain(&path.place, &path.value, &error.to_string(), mistakes),
    }
}

/// Tells of a key that is there and is none: an operator's, or where `seals` the key-encryption key. One that is not there is
/// made at the start.
pub(super) fn own_key(path: &Located<PathBuf>, seals: bool, mistakes: &Mistakes) {
    if !mistakes.judge_files() || matches!(path.value.try_exists(), Ok(false)) {
        return;
    }
    let Some(bytes) = read(path, MAX_KEY, mistakes) else { return };
    match files::secret(&bytes) {
        Ok(key) if seals => key_encryption_key(&path.place, key.expose_secret(), mistakes),
        Ok(_) => {}
        Err(error) => {
            complain::<()>(&path.place, &path.value, &error.to_string(), mistakes);
        }
    }
}

/// Tells of a key-encryption key that is none.
pub(super) fn key_encryption_key(place: &Place, text: &str, mistakes: &Mistakes) {
    if let Err(problem) = KeyEncryptionKey::from_text(text.trim()) {
        let remedy = "give 32 random bytes as 64 hex digits, as `openssl rand -hex 32` prints them";
        mistakes.add(place, format!("is no key-encryption key: {problem}"), remedy);
    }
}

fn read(path: &Located<PathBuf>, most: usize, mistakes: &Mistakes) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = files::read_regular(&path.value, most);
    bytes.map_or_else(|error| complain(&path.place, &path.value, &error.to_string(), mistakes), Some)
}

fn open(path: &Located<PathBuf>, mistakes: &Mistakes) -> Option<File> {
    // Opening a pipe would wait for its writer, so the kind is asked first.
    let problem = match std::fs::metadata(&path.value) {
        Ok(metadata) if !metadata.is_file() => Unreadable::NotAFile.to_string(),
        Ok(_) => match File::open(&path.value) {
            Ok(file) => return Some(file),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    complain(&path.place, &path.value, &problem, mistakes)
}

fn complain<T>(place: &Place, path: &Path, problem: &str, mistakes: &Mistakes) -> Option<T> {
    mistakes.add(place, format!("{} cannot be used: {problem}", path.display()), READABLE);
    None
}
