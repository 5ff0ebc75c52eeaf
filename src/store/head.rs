//! The end of the log as a backend keeps it.

use std::time::Duration;

use crate::domain::digest::Digest;
use crate::domain::revocation::Revision;
use crate::domain::time::Timestamp;

/// How far the events' own times stray from their order.
///
/// Requests overtake one another between their decision and the log, and clocks are set back, so `at`
/// is only nearly in order. With the largest step back in hand, a search by time still finds a range
/// of `seq` that holds every match, without reading the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The latest `at` of all.
    pub(super) latest: Timestamp,
    /// The most by which any `at` is before one that was recorded earlier.
    pub(super) skew: Duration,
}

/// Of a log without events.
impl Default for Span {
    fn default() -> Self {
        Self { latest: Timestamp::from_millis(0), skew: Duration::ZERO }
    }
}

impl Span {
    pub(super) fn note(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
        self.skew = self.skew.max(self.latest.since(at));
    }
}

/// The row that says what the log is, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeadRow {
    pub(super) size: u64,
    pub(super) root: Digest,
    pub(super) peaks: Vec<Digest>,
    pub(super) span: Span,
    /// The last change of the kill switch.
    pub(super) revision: Revision,
    /// Tokens that were decided before this change have expired.
    pub(super) floor: Revision,
}
