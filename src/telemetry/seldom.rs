//! Log lines that strangers or a fault can cause again and again: one in a while, with the count of the others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line through in each interval.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    pub const fn every(every: Duration) -> Self {
        Self { every, state: Mutex::new(State { last: None, kept_back: 0 }) }
    }

    /// Whether the line is due; then with the number of lines that were kept back since the last one.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            state.kept_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_each_interval_counts_the_others() {
        let (seldom, begun) = (Seldom::every(Duration::from_secs(10)), Instant::now());
        let at = |seconds| seldom.due_at(begun + Duration::from_secs(seconds));
        assert_eq!((at(0), at(1), at(9), at(10), at(21)), (Some(0), None, None, Some(2), Some(0)));
    }
}
