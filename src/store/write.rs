//! What can be written, and what became of it.

use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::revocation::{Stop, Verdict};
use crate::store::record;

/// How far the log is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many events it has; the `seq` of the last.
    pub size: u64,
    /// The Merkle tree hash of them all.
    pub root: Digest,
}

/// What became of a token that was about to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuance {
    /// Its event has this `seq`, and the token may be released.
    Recorded(u64),
    /// A stop covers it; nothing was recorded.
    Dead(Verdict),
}

/// What became of a lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifted {
    /// The stop is over, with its lift and its event recorded.
    Now(Stop),
    /// It was lifted before, as this says; nothing was recorded.
    Already(Stop),
    /// There is no stop of this id.
    Unknown,
}

/// One event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub seq: u64,
    /// The JSON of the event, `seq` first, exactly as it was hashed.
    pub bytes: Box<str>,
}

impl Recorded {
    /// What it says; `None` where its bytes are not as hallpass writes them, which `verify` tells.
    pub fn event(&self) -> Option<Event> {
        record::parse(self.seq, &self.bytes).ok()
    }
}
