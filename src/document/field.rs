//! The value of one key, turned into the type it must have.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{
    Document, FLAW_REMEDY, Located, Mistakes, Place, flaw, hidden, nearest, parse_duration, show_duration,
    wrong_value,
};

#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Toml(&'a Spanned<DeValue<'a>>),
    /// From the environment.
    Text(&'a str),
}

/// The value of one key, if it has one. Every way to read it tells what is wrong and gives `None` then.
/// Messages repeat the value, unless it may be a secret.
pub struct Field<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) mistakes: &'a Mistakes,
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) example: &'static str,
    pub(super) raw: Option<Raw<'a>>,
    pub(super) secret: bool,
}

impl<'a> Field<'a> {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn is_present(&self) -> bool {
        self.raw.is_some()
    }

    /// Whether the key is missing or an empty list.
    pub fn is_empty_list(&self) -> bool {
        match self.raw {
            Some(Raw::Toml(value)) => value.get_ref().as_array().is_some_and(|array| array.is_empty()),
            Some(Raw::Text(_)) => false,
            None => true,
        }
    }

    /// The value as `read` has it, or `default` where the key is missing.
    pub fn or<T>(self, default: T, read: impl FnOnce(Self) -> Option<Located<T>>) -> Option<Located<T>> {
        if self.raw.is_some() { read(self) } else { Some(self.located(default)) }
    }

    /// The same, whose value no message repeats: somebody may write the secret in place of its hash.
    pub fn beside_a_secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// `problem` with the wrong value, where that may be shown.
    fn problem(&self, text: &str, problem: &str) -> String {
        if self.secret { problem.to_owned() } else { wrong_value(text, problem) }
    }

    /// Tells if the key is missing.
    pub fn required(self) -> Self {
        if self.raw.is_none() {
            self.mistakes.add(&self.place, "is missing", self.remedy());
        }
        self
    }

    /// A string that is not empty, with no white space around it and no control character in it. One that looks like
    /// another text is warned of.
    pub fn text(self) -> Option<Located<String>> {
        let (mistakes, text) = (self.mistakes, self.prose()?);
        if let Some(problem) = flaw(&text.value) {
            mistakes.add(&text.place, problem, FLAW_REMEDY);
            return None;
        }
        if let Some(problem) = hidden(&text.value) {
            mistakes.warn(&text.place, problem, "write it as whoever sends the value does, byte for byte");
        }
        Some(text)
    }

    /// A string that is not empty and that nothing is compared with.
    pub fn prose(self) -> Option<Located<String>> {
        let text = match self.raw? {
            Raw::Text(text) => text,
            Raw::Toml(value) => match value.get_ref().as_str() {
                Some(text) => text,
                None => return self.wrong_type("a string", value),
            },
        };
        if text.trim().is_empty() {
            return self.wrong("is empty");
        }
        Some(self.located(text.to_owned()))
    }

    /// A string that is a `T`.
    pub fn parse<T: FromStr<Err: Display>>(self) -> Option<Located<T>> {
        let (mistakes, remedy, named) = (self.mistakes, self.remedy(), self.copy());
        let text = self.text()?;
        match text.value.parse() {
            Ok(value) => Some(Located { value, place: text.place }),
            Err(error) => {
                let problem = error.to_string();
                let remedy = meant(&text.value, &problem).unwrap_or(remedy);
                mistakes.add(&text.place, named.problem(&text.value, &problem), remedy);
                None
            }
        }
    }

    /// A duration such as `"10m"` within a range.
    pub fn duration(self, range: RangeInclusive<Duration>) -> Option<Located<Duration>> {
        let (mistakes, remedy) = (self.mistakes, self.remedy());
        let text = self.text()?;
        let Some(value) = parse_duration(&text.value) else {
            let problem = "is not a duration: a whole number with ms, s, m, h or d";
            mistakes.add(&text.place, wrong_value(&text.value, problem), remedy);
            return None;
        };
        if !range.contains(&value) {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            let limit = if value < *range.start() { "under the minimum" } else { "over the maximum" };
            let problem = format!("{} is {limit}", show_duration(value));
            mistakes.add(&text.place, problem, format!("write a duration from {least} to {most}"));
            return None;
        }
        Some(Located { value, place: text.place })
    }

    /// The same in whole seconds, as tokens live.
    pub fn whole_seconds(self, range: RangeInclusive<Duration>) -> Option<Located<Duration>> {
        let mistakes = self.mistakes;
        let read = self.duration(range)?;
        if !read.value.as_millis().is_multiple_of(1000) {
            let next = show_duration(Duration::from_secs(read.value.as_secs() + 1));
            let problem = format!("{} is not whole seconds", show_duration(read.value));
            mistakes.add(&read.place, problem, format!("write whole seconds, such as \"{next}\""));
            return None;
        }
        Some(read)
    }

    /// A whole number from 0 to 4,294,967,295.
    pub fn number(self) -> Option<Located<u32>> {
        let number = match self.raw? {
            Raw::Text(text) => match flaw(text) {
                Some(problem) => return self.flawed(problem),
                None => text.parse().ok(),
            },
            Raw::Toml(value) => match value.get_ref().as_integer() {
                Some(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
                None => return self.wrong_type("a whole number", value),
            },
        };
        match number {
            Some(number) => Some(self.located(number)),
            None => self.wrong_written("is not a whole number from 0 to 4294967295"),
        }
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Option<Located<bool>> {
        let boolean = match self.raw? {
            Raw::Text(text) => match flaw(text) {
                Some(problem) => return self.flawed(problem),
                None => text.parse().ok(),
            },
            Raw::Toml(value) => match value.get_ref().as_bool() {
                Some(boolean) => Some(boolean),
                None => return self.wrong_type("true or false", value),
            },
        };
        match boolean {
            Some(boolean) => Some(self.located(boolean)),
            None => self.wrong_written("is not true or false"),
        }
    }

    /// As [`Field::list`], with something in it.
    pub fn filled_list<T: FromStr<Err: Display> + PartialEq>(self) -> Option<Located<Vec<Located<T>>>> {
        if self.is_present() && self.is_empty_list() {
            return self.wrong("is empty");
        }
        self.list()
    }

    /// A list of strings that are `T`s, none twice; the good ones where some are bad. `None` only where
    /// the key is missing or no list at all.
    pub fn list<T: FromStr<Err: Display> + PartialEq>(self) -> Option<Located<Vec<Located<T>>>> {
        let value = match self.raw? {
            Raw::Toml(value) => value,
            Raw::Text(_) => {
                self.mistakes.add(
                    &self.place,
                    "a list cannot come from the environment",
                    "write it in the file",
                );
                return None;
            }
        };
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong_type("a list of strings", value);
        };
        let mut items: Vec<Located<T>> = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let place = Place {
                line: Some(self.document.line(element.span().start)),
                key: format!("{}[{index}]", self.place.key),
                ..self.place.clone()
            };
            let item = Field { place, raw: Some(Raw::Toml(element)), ..self.copy() }.parse::<T>();
            match item {
                Some(item) if items.iter().any(|other| other.value == item.value) => {
                    self.mistakes.add(&item.place, "is written twice", "keep one of the two");
                }
                Some(item) => items.push(item),
                None => {}
            }
        }
        Some(self.located(items))
    }

    /// What to write instead.
    pub fn remedy(&self) -> String {
        if self.place.is_environment() {
            format!("set {}={}", self.place.key, self.example.trim_matches('"'))
        } else {
            format!("write {} = {}", self.key, self.example)
        }
    }

    fn located<T>(self, value: T) -> Located<T> {
        Located { value, place: self.place }
    }

    /// With the value, as it was written.
    fn wrong_written<T>(self, problem: &str) -> Option<T> {
        let written = match self.raw {
            Some(Raw::Text(text)) => text.to_owned(),
            Some(Raw::Toml(value)) => {
                value.get_ref().as_integer().map(|number| number.as_str().to_owned()).unwrap_or_default()
            }
            None => String::new(),
        };
        let problem = if written.is_empty() { problem.to_owned() } else { self.problem(&written, problem) };
        self.wrong(&problem)
    }

    /// Where the value is a table, the keys that lead to the values in it: `kubernetes.io.pod` for what TOML reads of
    /// a key whose dots stand unquoted.
    pub fn dotted(&self) -> Vec<String> {
        let Some(Raw::Toml(value)) = self.raw else { return Vec::new() };
        let mut found = Vec::new();
        leaves(&self.key, value.get_ref(), &mut found);
        found.retain(|path| *path != self.key);
        found
    }

    fn flawed<T>(self, problem: String) -> Option<T> {
        self.mistakes.add(&self.place, problem, FLAW_REMEDY);
        None
    }

    pub(super) fn wrong<T>(self, problem: &str) -> Option<T> {
        self.mistakes.add(&self.place, problem, self.remedy());
        None
    }

    pub(super) fn wrong_type<T>(self, wanted: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(&format!("must be {wanted}, not {found}"))
    }

    fn copy(&self) -> Self {
        Self { place: self.place.clone(), key: self.key.clone(), ..*self }
    }
}

fn leaves(path: &str, value: &DeValue<'_>, found: &mut Vec<String>) {
    match value.as_table() {
        Some(table) => {
            for (key, value) in table {
                leaves(&format!("{path}.{}", key.get_ref()), value.get_ref(), found);
            }
        }
        None => found.push(path.to_owned()),
    }
}

/// What to do about `written`, where `problem` lists the words that may stand there and one of them is near.
fn meant(written: &str, problem: &str) -> Option<String> {
    // Where names differ by a digit, the nearest is another one, as ES256 is of HS256.
    let (_, list) =
        problem.split_once("is not one of ").filter(|_| !written.contains(|c: char| c.is_ascii_digit()))?;
    let words = list.split([',', ' ']).filter(|word| !matches!(*word, "" | "and" | "the"));
    nearest(written, words).map(|near| format!("did you mean \"{near}\"?"))
}
