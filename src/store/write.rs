//! What can be written, as data, and what became of it.

use std::sync::Arc;

use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::id::{StopId, TokenId};
use crate::domain::receipt::Receipt;
use crate::domain::revocation::{Levels, Lift, Revision, Stop, Verdict};
use crate::domain::signing::SealedKey;
use crate::store::record;

/// One write. All of it is recorded, together with its event, or nothing.
#[derive(Debug)]
pub(super) enum Write {
    /// An event by itself.
    Event(Event),
    /// A `token.issued` event, unless the levels are dead when it is committed.
    Issuance {
        event: Event,
        levels: Arc<Levels>,
    },
    /// A stop, unless its target is stopped already; the event either way.
    Stop {
        stop: Stop,
        event: Event,
    },
    /// The end of a stop, with an event that is completed from it. With `known`, only where no later event of the log is
    /// about the stop.
    Lift {
        id: StopId,
        lift: Lift,
        event: Event,
        known: Option<u64>,
    },
    /// A token that its holder ended, unless it has ended already.
    End {
        token: TokenId,
        event: Event,
    },
    /// What Redis holds of a history that this store has lost.
    Adopt(Box<Adoption>),
    /// A key in place of one with the same `kid`, unless there is one that is not among the `known`.
    PutKey {
        key: SealedKey,
        known: Vec<String>,
        event: Event,
    },
    RemoveKey {
        kid: String,
        event: Event,
    },
    /// Nothing: the stops are read from the disk again.
    Reread,
    /// The log's origin, unless it has one, and the event that tells of it, unless there is one.
    SetOrigin {
        origin: String,
        event: Event,
    },
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    Event(u64),
    Issuance(Issuance),
    Stop(Stop),
    Lift(LiftOutcome),
    End(Revision),
    /// Whether the key is there now.
    Key(bool),
    Done,
    Origin(String),
}

/// What another authority remembers of a history that this store has lost: it was restored from an older copy. Every
/// token that was decided before is dead from then on, because the events of some of them are lost too.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// That it happened, and what was found.
    pub event: Event,
    /// The last number of the lost history; new ones are given above it.
    pub above: Revision,
    /// Stops in force there that this store does not know.
    pub stops: Vec<(Stop, Event)>,
    /// Stops in force here whose targets the lost history had otherwise: they are numbered anew, so that they hold.
    pub restated: Vec<(StopId, Event)>,
}

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
    /// Its event is durable, and the token may be released.
    Recorded(Receipt),
    /// A stop covers it, as this says; nothing was recorded.
    Dead(Verdict),
}

/// What became of a lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiftOutcome {
    /// The stop is over, with its lift and its event recorded.
    Now(Stop),
    /// It was lifted before, as this says; nothing was recorded.
    Already(Stop),
    /// The log tells more of the stop than was known; nothing was recorded.
    Overtaken,
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
