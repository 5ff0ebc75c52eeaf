//! What is known of one target, and the numbers by which it is ordered.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::id::{OperatorName, StopId};
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;

/// The number of a change of the kill switch (a stop, a lift, a token's end). The store counts them, in the
/// transaction of the change's event. Which of two changes came first is decided by it and by no clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A place in the one history of changes: a number, and which change it was. Two histories that gave a number twice
/// (a store was restored from an older copy) differ in the mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub revision: Revision,
    /// The hash of the change's event as a leaf of the log; all zero before the first change.
    pub mark: Digest,
}

impl Point {
    /// Before the first change.
    pub const ZERO: Self = Self { revision: Revision::ZERO, mark: Digest([0; 32]) };
}

impl Default for Point {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.revision)
    }
}

/// One stop, as the durable store keeps it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub id: StopId,
    pub target: Target,
    pub at: Timestamp,
    pub reason: String,
    /// Who stopped it; none where it was found in Redis and in no event (see `audit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    /// None while the store has not taken it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Lift>,
}

/// The end of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    pub at: Timestamp,
    pub reason: String,
    pub operator: OperatorName,
    #[serde(default)]
    pub revision: Revision,
}

impl Stop {
    /// What this stop alone says of its target; none before it has a number.
    pub fn standing(&self) -> Option<Standing> {
        let stopped = self.revision?;
        Some(match &self.lift {
            None => Standing { stop: Some(self.id), stopped, changed: stopped },
            Some(lift) => Standing { stop: None, stopped, changed: lift.revision },
        })
    }
}

/// What is known of one target: whether it is stopped now, and when it last was.
///
/// Of two standings of a target the one with the later change is true. So standings can be merged in any order,
/// as often as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The stop in force.
    pub stop: Option<StopId>,
    /// The last stop. A token that was decided before it is dead for ever, lifted or not.
    pub stopped: Revision,
    /// The last change: that stop, or its lift.
    pub changed: Revision,
}

impl Standing {
    /// The truth of both: the one that changed later.
    pub fn merge(self, other: Self) -> Self {
        if (other.changed, other.stop) > (self.changed, self.stop) { other } else { self }
    }

    /// Whether nothing can be told of `target` by it any more, where every token that was decided before `floor`
    /// is dead by that alone.
    pub fn is_spent(&self, target: &Target, floor: Revision) -> bool {
        let stops_the_new = self.stop.is_some() && !matches!(target, Target::Token(_));
        !stops_the_new && self.changed <= floor
    }
}
