//! The tables of a document.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Document;
use super::field::{Field, Raw};
use super::mistake::{ENVIRONMENT, Located, Mistakes, Place};
use super::spelling::nearest;
use super::written::{FLAW_REMEDY, flaw, hidden};

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
    /// What stands in no section.
    pub(super) fn root(document: &'a Document<'a>, mistakes: &'a Mistakes) -> Self {
        let place = Place { file: document.file.clone(), line: Some(1), key: String::new() };
        Self::new(document, mistakes, Some(&document.root), place, String::new(), true)
    }

    fn new(
        document: &'a Document<'a>,
        mistakes: &'a Mistakes,
        entries: Option<&'a DeTable<'a>>,
        place: Place,
        shape: String,
        overridable: bool,
    ) -> Self {
        Self {
            document,
            mistakes,
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
        self.key_with(key, example, self.variable(key))
    }

    /// As [`Table::key`], of a key that answers to `variable` and not to the one of its name.
    pub fn key_by(&self, key: &'static str, example: &'static str, variable: &str) -> Field<'a> {
        self.key_with(key, example, Some(variable.to_owned()))
    }

    fn key_with(&self, key: &'static str, example: &'static str, variable: Option<String>) -> Field<'a> {
        let (entry, place) = self.ask(key);
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
        Field {
            document: self.document,
            mistakes: self.mistakes,
            place,
            key: key.into(),
            example,
            raw,
            secret: false,
        }
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
        if let Some(problem) = flaw(value) {
            self.mistakes.add(&place, problem, FLAW_REMEDY);
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
        let shape = self.join(&self.shape, key);
        Self::new(self.document, self.mistakes, entries, place, shape, self.overridable)
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
            tables.push(Self::new(self.document, self.mistakes, Some(entries), place, shape.clone(), false));
        }
        tables
    }

    /// Every key and value of a table whose keys are the writer's own.
    pub fn fields(&self, example: &'static str) -> Vec<Field<'a>> {
        self.open.set(true);
        let Some(entries) = self.entries else { return Vec::new() };
        for key in entries.keys() {
            let place = self.place_of(key);
            match (flaw(key.get_ref()), hidden(key.get_ref())) {
                (Some(problem), _) => self.mistakes.add(&place, format!("the key {problem}"), FLAW_REMEDY),
                (None, Some(problem)) => {
                    let remedy = "write it as whoever sends the value does, byte for byte";
                    self.mistakes.warn(&place, format!("the key {problem}"), remedy);
                }
                (None, None) => {}
            }
        }
        let fields = entries.iter().map(|(key, value)| Field {
            document: self.document,
            mistakes: self.mistakes,
            place: self.place_of(key),
            key: key.get_ref().to_string(),
            example,
            raw: Some(Raw::Toml(value)),
            secret: false,
        });
        fields.collect()
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

impl<'a> Field<'a> {
    /// A table, inline or under its own header.
    pub fn table(self) -> Option<Table<'a>> {
        let Raw::Toml(value) = self.raw? else {
            return self.wrong("a table cannot come from the environment");
        };
        let Some(entries) = value.get_ref().as_table() else {
            return self.wrong_type("a table", value);
        };
        let shape = self
            .place
            .key
            .split(['[', ']'])
            .enumerate()
            .fold(String::new(), |shape, (i, part)| if i % 2 == 1 { shape + "[]" } else { shape + part });
        Some(Table::new(self.document, self.mistakes, Some(entries), self.place, shape, false))
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let Some(entries) = self.entries.filter(|_| !self.open.get()) else { return };
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        let is_known = |key: &str| asked.contains(key) || refused.contains(key);
        for key in entries.keys().filter(|key| !is_known(key.get_ref())) {
            // TOML gives what stands below a [table] to that table.
            let of_root =
                !self.path.is_empty() && self.document.known.borrow().contains(key.get_ref().as_ref());
            let remedy = match nearest(key.get_ref(), asked.iter().copied()) {
                _ if of_root => "it is a key of the whole file: move it above the first [table]".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", asked.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            self.mistakes.add(&self.place_of(key), "unknown key", remedy);
        }
    }
}
