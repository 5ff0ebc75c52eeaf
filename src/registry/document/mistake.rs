//! What is wrong, and where it stands.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::diagnostic::Diagnostic;

/// The `file` of a [`Diagnostic`] about an environment variable; its key is the variable.
pub const ENVIRONMENT: &str = "environment";

/// Where a value stands: what a [`Diagnostic`] needs to name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    pub line: Option<usize>,
    /// The dotted key, or the environment variable.
    pub key: String,
}

impl Place {
    pub fn is_environment(&self) -> bool {
        *self.file == *Path::new(ENVIRONMENT)
    }

    /// `path` as the writer of this place meant it: relative to the file, or to the working directory
    /// where it came from the environment.
    pub fn resolve(&self, path: &str) -> PathBuf {
        match self.file.parent() {
            Some(folder) if !self.is_environment() => folder.join(path),
            _ => PathBuf::from(path),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub place: Place,
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub struct Mistakes(RefCell<Vec<Diagnostic>>);

impl Mistakes {
    pub fn add(&self, place: &Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push(Diagnostic {
            file: place.file.to_path_buf(),
            line: place.line,
            key: place.key.clone(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All of them by file and line, none twice.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all
    }
}
