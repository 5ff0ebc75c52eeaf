//! When what is known of ended tokens and lifted stops can be forgotten: once the time has truly passed in which any
//! token that it kills could have lived. That is measured by this process's monotonic clock, since the change was
//! learnt; the wall clock may say what it likes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::revocation::Revision;

/// Between two looks at how far the changes are.
const STEP: Duration = Duration::from_secs(300);
/// Twice as long as any token lives.
const SPENT: Duration = Duration::from_secs(2 * MAX_TOKEN_LIFETIME.as_secs());

/// How far the changes were at instants of the last hours.
#[derive(Debug, Default)]
pub(in crate::store) struct Horizon(VecDeque<(Instant, Revision)>);

impl Horizon {
    /// The changes are at `revision` now. Gives the floor, when there is a new one: tokens that were decided before it
    /// have expired.
    pub(in crate::store) fn look(&mut self, now: Instant, revision: Revision) -> Option<Revision> {
        let due = |seen: &(Instant, Revision)| now.saturating_duration_since(seen.0);
        if self.0.back().is_none_or(|last| due(last) >= STEP) {
            self.0.push_back((now, revision));
        }
        let mut floor = None;
        while self.0.front().is_some_and(|first| due(first) > SPENT) {
            floor = self.0.pop_front().map(|(_, revision)| revision);
        }
        floor.filter(|floor| *floor > Revision::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_spent_two_lifetimes_after_it_was_seen_and_no_earlier() {
        let (start, mut horizon) = (Instant::now(), Horizon::default());
        let hour = Duration::from_secs(3600);
        assert_eq!(horizon.look(start, Revision::new(5)), None);
        assert_eq!(horizon.look(start + hour, Revision::new(9)), None);
        assert_eq!(horizon.look(start + 2 * hour, Revision::new(9)), None);
        assert_eq!(horizon.look(start + 2 * hour + STEP, Revision::new(9)), Some(Revision::new(5)));
        assert_eq!(horizon.look(start + 3 * hour, Revision::new(9)), None);
        assert_eq!(horizon.look(start + 3 * hour + STEP, Revision::new(9)), Some(Revision::new(9)));
        // An instant that seems earlier changes nothing.
        assert_eq!(horizon.look(start, Revision::new(9)), None);
    }
}
