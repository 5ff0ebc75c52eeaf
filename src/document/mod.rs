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
#[cfg(test)]
mod tests;
mod text;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

pub use field::Field;
pub use mistake::{ENVIRONMENT, Located, Mistakes, Place};
pub use span::{parse_duration, show_duration};
pub use spelling::{is_near, nearest};
pub use text::{Fault, MAX_FILE_BYTES, decode, read_bytes, read_text};

use field::Raw;

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
                let problem = format!("not TOML: {}", error.message().replace('\n', ", "));
                mistakes.add(&place, problem, "see https://toml.io for the syntax");
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
        Table {
            document: self,
            mistakes,
            entries: Some(&self.root),
            path: String::new(),
            shape: String::new(),
            line: Some(1),
            overridable: true,
            asked: RefCell::default(),
            refused: RefCell::default(),
            open: Cell::new(false),
        }
    }

    /// Every key that was asked for so far.
    pub fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }

    /// Every environment variable that would have been heard so far.
    pub fn known_variables(&self) -> BTreeSet<String> {
        self.known_variables.borrow().clone()
    }

    /// The 1-based line of a byte.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }
}

/// One table of a document: its keys are asked for by name, and what was not asked for is unknown.
pub struct Table<'a> {
    document: &'a Document<'a>,
    mistakes: &'a Mistakes,
    /// None where the file does not have the table.
    entries: Option<&'a DeTable<'a>>,
    path: String,
    shape: String,
    line: Option<usize>,
    overridable: bool,
    asked: RefCell<BTreeSet<&'static str>>,
    /// Keys that are known and never right: not suggested to anybody.
    refused: RefCell<BTreeSet<&'static str>>,
    open: Cell<bool>,
}

impl<'a> Table<'a> {
    /// The table itself, for mistakes about the whole of it.
    pub fn place(&self) -> Place {
        Place { file: self.document.file.clone(), line: self.line, key: self.path.clone() }
    }

    pub fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// The value of `key`, of which `example` is one in TOML. A scalar's variable overrides it.
    pub fn key(&self, key: &'static str, example: &'static str) -> Field<'a> {
        let (entry, place) = self.ask(key);
        let variable = self.variable(key);
        let mut raw = entry.map(Raw::Toml);
        if let Some(variable) = &variable {
            self.document.known_variables.borrow_mut().insert(variable.clone());
            if let Some(text) = self.document.variables.get(variable) {
                raw = Some(Raw::Text(text));
            }
        }
        let place = match raw {
            Some(Raw::Text(_)) => {
                Place { file: Path::new(ENVIRONMENT).into(), line: None, key: variable.unwrap_or_default() }
            }
            _ => place,
        };
        Field { document: self.document, mistakes: self.mistakes, place, key: key.into(), example, raw }
    }

    /// The value of a key that only the environment may hold, because it is a secret. Written into the
    /// file, it is refused without being repeated.
    pub fn secret_variable(&self, key: &'static str) -> Option<Located<&'a str>> {
        let variable = self.variable(key)?;
        let (entry, place) = self.refuse(key);
        if entry.is_some() {
            let remedy = format!("write {key}_file with the path of a file, or set {variable}");
            self.mistakes.add(&place, "a secret does not belong in this file", remedy);
        }
        self.document.known_variables.borrow_mut().insert(variable.clone());
        let value = self.document.variables.get(&variable)?.as_str();
        let place = Place { file: Path::new(ENVIRONMENT).into(), line: None, key: variable };
        if value.trim().is_empty() {
            self.mistakes.add(&place, "is empty", "set it to the secret, or unset it");
            return None;
        }
        Some(Located { value, place })
    }

    /// A key of a later version: refused where it is written.
    pub fn unsupported(&self, key: &'static str, instead: &str) {
        let (entry, place) = self.refuse(key);
        if entry.is_some() {
            self.mistakes.add(&place, format!("`{key}` is not supported by this version"), instead);
        }
    }

    /// `[key]`, or an empty table where the file has none.
    pub fn section(&self, key: &'static str) -> Table<'a> {
        let (entry, place) = self.ask(key);
        let entries = entry.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.mistakes.add(&place, "is not a table", format!("write [{}]", place.key));
            }
            table
        });
        self.child(entries, place, self.join(&self.shape, key), self.overridable)
    }

    /// `[[key]]`, in the order of the file.
    pub fn list_of_tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let (entry, place) = self.ask(key);
        let Some(entry) = entry else { return Vec::new() };
        let shape = format!("{}[]", self.join(&self.shape, key));
        let complain = || {
            let header = place.key.replace("[]", "");
            self.mistakes.add(&place, "is not a list of tables", format!("write [[{header}]]"));
        };
        let Some(array) = entry.get_ref().as_array() else {
            complain();
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let Some(entries) = element.get_ref().as_table() else {
                complain();
                continue;
            };
            let line = Some(self.document.line(element.span().start));
            let place = Place { line, key: format!("{}[{index}]", place.key), ..place.clone() };
            tables.push(self.child(Some(entries), place, shape.clone(), false));
        }
        tables
    }

    /// Every key and value of a table whose keys are the writer's own.
    pub fn fields(&self, example: &'static str) -> Vec<Field<'a>> {
        self.open.set(true);
        let Some(entries) = self.entries else { return Vec::new() };
        let fields = entries.iter().map(|(key, value)| Field {
            document: self.document,
            mistakes: self.mistakes,
            place: self.place_of(key),
            key: key.get_ref().to_string(),
            example,
            raw: Some(Raw::Toml(value)),
        });
        fields.collect()
    }

    fn child(
        &self,
        entries: Option<&'a DeTable<'a>>,
        place: Place,
        shape: String,
        overridable: bool,
    ) -> Table<'a> {
        Table {
            document: self.document,
            mistakes: self.mistakes,
            entries,
            path: place.key,
            shape,
            line: place.line,
            overridable,
            asked: RefCell::default(),
            refused: RefCell::default(),
            open: Cell::new(false),
        }
    }

    /// Marks `key` as known and finds it.
    fn ask(&self, key: &'static str) -> (Option<&'a Spanned<DeValue<'a>>>, Place) {
        self.asked.borrow_mut().insert(key);
        self.document.known.borrow_mut().insert(self.join(&self.shape, key));
        match self.entries.and_then(|entries| entries.get_key_value(key)) {
            Some((key, value)) => (Some(value), self.place_of(key)),
            None => (None, Place { key: self.join(&self.path, key), ..self.place() }),
        }
    }

    /// As [`Table::ask`], for a key that is never right.
    fn refuse(&self, key: &'static str) -> (Option<&'a Spanned<DeValue<'a>>>, Place) {
        let found = self.ask(key);
        self.asked.borrow_mut().remove(key);
        self.refused.borrow_mut().insert(key);
        found
    }

    fn place_of(&self, key: &Spanned<DeString<'_>>) -> Place {
        Place {
            file: self.document.file.clone(),
            line: Some(self.document.line(key.span().start)),
            key: self.join(&self.path, key.get_ref()),
        }
    }

    fn join(&self, path: &str, key: &str) -> String {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    }

    /// The variable of a scalar of a section: those of the root and of lists have none.
    fn variable(&self, key: &str) -> Option<String> {
        (self.overridable && !self.path.is_empty()).then(|| {
            let section = self.path.replace('.', "__");
            format!("HALLPASS_{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
        })
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let Some(entries) = self.entries.filter(|_| !self.open.get()) else { return };
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        let is_known = |key: &str| asked.contains(key) || refused.contains(key);
        for key in entries.keys().filter(|key| !is_known(key.get_ref())) {
            let remedy = match nearest(key.get_ref(), asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", asked.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            self.mistakes.add(&self.place_of(key), "unknown key", remedy);
        }
    }
}
