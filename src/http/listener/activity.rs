//! When a connection last did something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When something last came of a connection: a request arrived, or a piece of an answer was taken.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`, and one; 0 before the first request.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    pub(super) fn note(&self) {
        self.last.store(self.millis() + 1, Ordering::Relaxed);
    }

    /// For how long nothing came of it; `None` before the first request.
    pub(super) fn idle(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(last)))
    }
}
