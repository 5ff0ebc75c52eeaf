//! The text of a file that a person wrote, before it is parsed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Mistakes;
use crate::domain::diagnostic::Diagnostic;

/// No file that a person wrote and another reviewed is bigger.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// What is wrong with a file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: Option<usize>,
    pub problem: String,
    pub remedy: &'static str,
}

impl Fault {
    pub fn new(problem: impl Into<String>, remedy: &'static str) -> Self {
        Self { line: None, problem: problem.into(), remedy }
    }

    /// The same as a mistake of `file`.
    pub fn at(&self, file: PathBuf) -> Diagnostic {
        Diagnostic {
            file,
            line: self.line,
            key: String::new(),
            problem: self.problem.clone(),
            remedy: self.remedy.to_owned(),
        }
    }
}

/// Reads a UTF-8 file of at most [`MAX_FILE_BYTES`]; what is wrong with it goes to `mistakes`.
pub fn read_text(path: &Path, mistakes: &Mistakes) -> Option<String> {
    match read_bytes(path).and_then(decode) {
        Ok(text) => Some(text),
        Err(fault) => {
            mistakes.push(fault.at(path.to_path_buf()));
            None
        }
    }
}

fn unreadable(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::NotFound {
        return Fault::new("there is no such file", "make it, or correct the path");
    }
    Fault::new(format!("cannot be read: {error}"), "make it a file that hallpass may read")
}

/// The bytes of a regular file of at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// What is wrong with it.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(Fault::new("is a folder", "write a file of this name"));
    }
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(Fault::new("is not a regular file", "write a file of this name"));
    }
    // Room for all of it and one byte more, so that one call reads it and the next finds its end.
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE_BYTES) as usize + 1);
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::new("is bigger than 1 MiB", "keep only what hallpass reads"));
    }
    Ok(bytes)
}

/// `bytes` as text.
///
/// # Errors
/// That they are not UTF-8, and from which line on.
pub fn decode(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        Fault { line: Some(line), ..Fault::new("is not UTF-8 text", "save the file as UTF-8") }
    })
}
