//! Files that the configuration names.

use std::fs::File;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::document::{Field, Located, Mistakes, Place, unexpanded};
use crate::files;

/// More than any key, password or certificate chain.
const MAX_BYTES: usize = 1 << 20;

/// The path of a file that can be read now.
pub(super) fn readable(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    is_readable(&path(field, mistakes)?, mistakes)
}

/// The same path, where its file can be read now.
pub(super) fn is_readable(path: &Located<PathBuf>, mistakes: &Mistakes) -> Option<Located<PathBuf>> {
    open(path, mistakes)?;
    Some(path.clone())
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

/// A secret from a file, without the line break that editors add.
pub(super) fn secret(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<SecretString>> {
    let path = path(field, mistakes)?;
    let read = files::read_regular(&path.value, MAX_BYTES).and_then(|bytes| files::password(&bytes));
    match read {
        Ok(value) => Some(Located { value, place: path.place }),
        Err(error) => complain(&path.place, &path.value, &error.to_string(), mistakes),
    }
}

fn open(path: &Located<PathBuf>, mistakes: &Mistakes) -> Option<File> {
    // Opening a pipe would wait for its writer, so the kind is asked first.
    let problem = match std::fs::metadata(&path.value) {
        Ok(metadata) if !metadata.is_file() => "it is not a regular file".to_owned(),
        Ok(_) => match File::open(&path.value) {
            Ok(file) => return Some(file),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    complain(&path.place, &path.value, &problem, mistakes)
}

fn complain<T>(place: &Place, path: &std::path::Path, problem: &str, mistakes: &Mistakes) -> Option<T> {
    let problem = format!("{} cannot be used: {problem}", path.display());
    mistakes.add(place, problem, "name a file that hallpass may read, relative to this file or absolute");
    None
}
