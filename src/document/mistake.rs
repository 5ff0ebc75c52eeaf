//! What is wrong, and where it stands.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::diagnostic::{Diagnostic, Warning};

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

/// What is wrong so far, and what is only to be warned about.
#[derive(Debug, Default)]
pub struct Mistakes {
    mistakes: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Warning>>,
    without_files: bool,
}

impl Mistakes {
    /// Of a document whose named files are not opened, because they are not on this machine: nothing is told of them.
    pub fn without_files() -> Self {
        Self { without_files: true, ..Self::default() }
    }

    /// Whether the files that the document names are to be opened and judged.
    pub fn judge_files(&self) -> bool {
        !self.without_files
    }

    pub fn add(&self, place: &Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push(diagnostic(place, problem.into(), remedy.into()));
    }

    /// What does not keep a file from being used.
    pub fn warn(&self, place: &Place, problem: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning(diagnostic(place, problem.into(), remedy.into())));
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.mistakes.borrow_mut().push(diagnostic);
    }

    /// Whether there is no mistake; warnings are none.
    pub fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    /// The warnings since the last call, in the order in which they came.
    pub fn take_warnings(&self) -> Vec<Warning> {
        self.warnings.take()
    }

    /// Every mistake by file and line, none twice.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        sorted(self.mistakes.into_inner())
    }

    /// Every warning by file and line, none twice.
    pub fn into_warnings(self) -> Vec<Warning> {
        sorted(self.warnings.into_inner())
    }
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all.dedup();
    all
}

fn diagnostic(place: &Place, problem: String, remedy: String) -> Diagnostic {
    let Place { file, line, key } = place;
    Diagnostic { file: file.to_path_buf(), line: *line, key: key.clone(), problem, remedy }
}
