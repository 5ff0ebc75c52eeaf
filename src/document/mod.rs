//! A TOML file that a person wrote, read so that every mistake in it is told at once and with its line.
//!
//! [`Document::parse`] keeps where each key stands. A [`Table`] is asked for its keys one by one, each with
//! an example of what belongs there; what is wrong goes to [`Mistakes`] and reading goes on. A table that
//! is dropped has been read: any key that nobody asked for is unknown, and told with the nearest known one.
//!
//! Called by `registry` for agent files and by `config` for `hallpass.toml`.

mod field;
mod mistake;
mod span;
mod spelling;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod written;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

pub use field::Field;
pub use mistake::{ENVIRONMENT, Located, Mistakes, Place};
pub use span::{parse_duration, show_duration};
pub use spelling::{is_near, nearest};
pub use table::Table;
pub use text::{Fault, MAX_FILE_BYTES, decode, read_bytes, read_text};
pub use written::{FLAW_REMEDY, flaw, hidden, unexpanded, wrong_value};

/// One slip can unsettle the lines after it, and nobody reads further than this.
const MAX_SYNTAX_MISTAKES: usize = 20;

/// One parsed file and what may override its scalars.
pub struct Document<'t> {
    file: Arc<Path>,
    /// The byte at which each line begins.
    starts: Vec<usize>,
    root: DeTable<'t>,
    whole: bool,
    variables: BTreeMap<String, String>,
    /// Every key that was asked for, `issuer[].name` for those of a list of tables.
    known: RefCell<BTreeSet<String>>,
    /// Every variable that a scalar key of this document answers to.
    known_variables: RefCell<BTreeSet<String>>,
}

impl<'t> Document<'t> {
    /// Parses `text`. Syntax mistakes are told; what could be recovered is still there to be asked.
    pub fn parse(file: &Path, text: &'t str, mistakes: &Mistakes) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            file: file.into(),
            starts,
            root: table.into_inner(),
            whole: true,
            variables: BTreeMap::new(),
            known: RefCell::default(),
            known_variables: RefCell::default(),
        };
        let mut told = BTreeSet::new();
        for error in errors {
            let line = error.span().map_or(1, |span| document.line(span.start));
            let place = Place { file: document.file.clone(), line: Some(line), key: String::new() };
            let duplicate = error.message() == "duplicate key";
            document.whole &= duplicate;
            if told.len() == MAX_SYNTAX_MISTAKES || !told.insert(line) {
                continue;
            }
            if duplicate {
                mistakes.add(&place, "this key was already written above", "keep one of the two");
            } else {
                let (problem, remedy) =
                    written::unquoted(document.text_of(text, line)).unwrap_or_else(|| {
                        let problem = format!("not TOML: {}", error.message().replace('\n', ", "));
                        (problem, "see https://toml.io for the syntax".to_owned())
                    });
                mistakes.add(&place, problem, remedy);
            }
        }
        document
    }

    /// A document whose scalars these variables override: `HALLPASS_STORE__URL` for `store.url`.
    pub fn with_environment(mut self, variables: BTreeMap<String, String>) -> Self {
        self.variables = variables;
        self
    }

    /// Whether the file is TOML, so that a key that is not found is missing and not just unreadable.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    pub fn root<'a>(&'a self, mistakes: &'a Mistakes) -> Table<'a> {
        Table::root(self, mistakes)
    }

    /// Every key that was asked for so far.
    pub fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }

    /// Every environment variable that would have been heard so far.
    pub fn known_variables(&self) -> BTreeSet<String> {
        self.known_variables.borrow().clone()
    }

    /// What stands on a 1-based line of `text`, which the document was parsed from.
    fn text_of<'a>(&self, text: &'a str, line: usize) -> &'a str {
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        text[start..].lines().next().unwrap_or_default()
    }

    /// The 1-based line of a byte.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }
}
