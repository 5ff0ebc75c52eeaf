//! The end of the log as a backend keeps it.

use crate::domain::digest::Digest;
use crate::domain::revocation::Revision;

/// How far the events' own times stray from their order.
///
/// Requests overtake one another between their decision and the log, and clocks are set back, so `at`
/// is only nearly in order. With the largest step back in hand, a search by time still finds a range
/// of `seq` that holds every match, without reading the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// The latest `at` of all, in milliseconds.
    pub(super) latest: i64,
    /// The most by which any `at` is before one that was recorded earlier, in milliseconds.
    pub(super) skew: i64,
}

impl Span {
    pub(super) fn note(&mut self, at: i64) {
        self.latest = self.latest.max(at);
        self.skew = self.skew.max(self.latest.saturating_sub(at));
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
