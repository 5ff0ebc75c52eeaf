//! Notices when the wall clock is set: no stop is decided by it, but expiry is, and an operator should know.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::time::Timestamp;

/// A smaller difference between the wall clock and the monotonic one is drift, or a slow look.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct ClockWatch(Mutex<Option<(Timestamp, Instant)>>);

impl ClockWatch {
    /// By how many milliseconds the wall clock was set since the last look: forward if positive.
    pub(super) fn look(&self, wall: Timestamp, steady: Instant) -> Option<i64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall_before, steady_before) = last.replace((wall, steady))?;
        let passed = steady.saturating_duration_since(steady_before);
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let step = wall.millis().saturating_sub(wall_before.millis()).saturating_sub(passed);
        (step.unsigned_abs() > STEP.as_millis() as u64).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_with_its_direction() {
        let (watch, start) = (ClockWatch::default(), Instant::now());
        let look = |wall: i64, steady: u64| {
            watch.look(Timestamp::from_seconds(wall), start + Duration::from_secs(steady))
        };
        assert_eq!(look(1_000, 0), None);
        assert_eq!(look(1_001, 1), None);
        assert_eq!(look(1_007, 2), None, "five seconds are drift");
        assert_eq!(look(1_018, 3), Some(10_000));
        assert_eq!(look(1_019, 4), None);
        assert_eq!(look(20, 5), Some(-1_000_000));
        assert_eq!(look(21, 6), None);
    }
}
