//! The signing keys and the log's name, replayed from the events, against the tables: a key that somebody put there signs
//! tokens that no event tells of.

use std::collections::BTreeMap;

use super::{Kept, VerifyError};
use crate::domain::event::{Event, Kind};
use crate::domain::signing::KeyRecord;

/// What the events have said so far. An earlier hallpass did not say which keys it made, so until the log is named,
/// which tells of all of them, there may be others.
#[derive(Debug, Default)]
pub(super) struct Replay {
    keys: BTreeMap<String, KeyRecord>,
    origin: Option<String>,
}

impl Replay {
    pub(super) fn note(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if event.kind == Kind::LogNamed {
            if self.origin.is_some() || event.origin.is_none() {
                return Err(VerifyError::event(seq, "it names a log that has a name, or gives it none"));
            }
            if self.keys.values().any(|key| !event.keys.contains(key)) {
                return Err(VerifyError::event(seq, "it lacks a signing key that an earlier event told of"));
            }
            self.origin.clone_from(&event.origin);
        } else if event.kind != Kind::KeyRotated {
            return Ok(());
        }
        if let Some(kid) = &event.removed_key {
            self.keys.remove(kid);
        }
        self.keys.extend(event.keys.iter().map(|key| (key.kid.clone(), key.clone())));
        Ok(())
    }

    /// Compares the keys and the name as they stand with what all events made of them.
    pub(super) fn check(&self, kept: &impl Kept) -> Result<(), VerifyError> {
        let found =
            kept.keys().map_err(|error| VerifyError::Keys(format!("one of them cannot be read: {error}")))?;
        let found: BTreeMap<String, KeyRecord> =
            found.iter().map(|key| (key.kid.clone(), KeyRecord::from(key))).collect();
        let wrong = |kid: &str, what: &str| Err(VerifyError::Keys(format!("{} {what}", kid.escape_debug())));
        for (kid, told) in &self.keys {
            match found.get(kid) {
                None => return wrong(kid, "was removed without an event"),
                Some(key) if key != told => return wrong(kid, "was changed without an event"),
                Some(_) => {}
            }
        }
        let Some(origin) = &self.origin else { return Ok(()) };
        if let Some(kid) = found.keys().find(|kid| !self.keys.contains_key(*kid)) {
            return wrong(kid, "was added without an event");
        }
        match kept.names()?.as_slice() {
            [(name, value)] if name == "origin" && value == origin => Ok(()),
            _ => Err(VerifyError::Origin(origin.clone())),
        }
    }
}
