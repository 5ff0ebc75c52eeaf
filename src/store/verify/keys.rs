//! The signing keys and the log's name, replayed from the events, against the tables: a key that somebody put there signs
//! tokens that no event tells of.

use std::collections::BTreeMap;

use super::{Difference, Differences, Kept};
use crate::domain::event::{Event, Kind};
use crate::domain::signing::KeyRecord;
use crate::store::error::StoreError;

/// What the events have said so far. An earlier hallpass did not say which keys it made, so until the log is named,
/// which tells of all of them, there may be others.
#[derive(Debug, Default)]
pub(super) struct Replay {
    keys: BTreeMap<String, KeyRecord>,
    origin: Option<String>,
    /// Whether some events could not be read, which may have told of keys.
    unread: bool,
}

impl Replay {
    /// Notes an event that could not be read.
    pub(super) fn skip(&mut self) {
        self.unread = true;
    }

    pub(super) fn note(&mut self, seq: u64, event: &Event, differences: &mut Differences) {
        if event.kind == Kind::LogNamed {
            if self.origin.is_some() || event.origin.is_none() {
                let problem = "it names a log that has a name, or gives it none";
                return differences.push(Difference::event(seq, problem));
            }
            if !self.unread && self.keys.values().any(|key| !event.keys.contains(key)) {
                let problem = "it lacks a signing key that an earlier event told of";
                differences.push(Difference::event(seq, problem));
            }
            self.origin.clone_from(&event.origin);
        } else if event.kind != Kind::KeyRotated {
            return;
        }
        if let Some(kid) = &event.removed_key {
            self.keys.remove(kid);
        }
        self.keys.extend(event.keys.iter().map(|key| (key.kid.clone(), key.clone())));
    }

    /// Notes where the keys and the name as they stand are not what all events made of them.
    pub(super) fn check(&self, kept: &impl Kept, differences: &mut Differences) -> Result<(), StoreError> {
        match kept.keys() {
            Err(error) => {
                differences.push(Difference::Keys(format!("one of them cannot be read: {error}")));
            }
            Ok(found) => {
                self.compare(found.iter().map(|key| (key.kid.clone(), KeyRecord::from(key))), differences);
            }
        }
        let Some(origin) = &self.origin else { return Ok(()) };
        match kept.names()?.as_slice() {
            [(name, value)] if name == "origin" && value == origin => {}
            _ => differences.push(Difference::Origin(origin.clone())),
        }
        Ok(())
    }

    fn compare(&self, found: impl Iterator<Item = (String, KeyRecord)>, differences: &mut Differences) {
        let found: BTreeMap<String, KeyRecord> = found.collect();
        let mut wrong = |kid: &str, what: &str| {
            let read = if self.unread { " that can be read" } else { "" };
            differences.push(Difference::Keys(format!("{} {what}{read}", kid.escape_debug())));
        };
        for (kid, told) in &self.keys {
            match found.get(kid) {
                None => wrong(kid, "was removed without an event"),
                Some(key) if key != told => wrong(kid, "was changed without an event"),
                Some(_) => {}
            }
        }
        if self.origin.is_some() {
            let strangers = found.keys().filter(|kid| !self.keys.contains_key(*kid));
            strangers.for_each(|kid| wrong(kid, "was added without an event"));
        }
    }
}
