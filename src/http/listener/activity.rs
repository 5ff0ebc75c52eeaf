//! When a connection last did something.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Patience;

/// When something last came of a connection: a request arrived, or a piece of an answer was taken.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`, and one; 0 before the first request.
    last: AtomicU64,
    /// The same of the first bytes of a head that is not whole yet; 0 where there is none.
    head: AtomicU64,
    /// HTTP/2 sends bytes that belong to no request, such as answers to pings.
    http2: AtomicBool,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing: look again after this time.
    Later(Duration),
    /// The end, as nothing comes or goes.
    Idle,
    /// The end, as the head of a request does not become whole.
    NoHead,
}

impl Activity {
    pub(super) fn new() -> Self {
        let (last, head, http2) = Default::default();
        Self { begun: Instant::now(), last, head, http2 }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    pub(super) fn note(&self) {
        self.last.store(self.millis() + 1, Ordering::Relaxed);
    }

    /// The head of a request is whole.
    pub(super) fn note_request(&self, http2: bool) {
        self.head.store(0, Ordering::Relaxed);
        self.http2.store(http2, Ordering::Relaxed);
        self.note();
    }

    /// Bytes arrived while no request was underway: those of the next head.
    pub(super) fn note_bytes(&self) {
        if !self.http2.load(Ordering::Relaxed) && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.millis() + 1, Ordering::Relaxed);
        }
    }

    fn since(&self, moment: &AtomicU64) -> Option<Duration> {
        let moment = moment.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(moment)))
    }

    /// What is due; `underway` says whether a request is.
    pub(super) fn due(&self, patience: &Patience, underway: bool) -> Due {
        let Some(quiet) = self.since(&self.last) else { return Due::NoHead };
        let most = if underway { patience.stall } else { patience.idle };
        let Some(left) = most.checked_sub(quiet).filter(|left| !left.is_zero()) else { return Due::Idle };
        if underway {
            return Due::Later(left);
        }
        let waited = self.since(&self.head).unwrap_or_default();
        match patience.header.checked_sub(waited).filter(|left| !left.is_zero()) {
            // A head that begins after this moment is looked at before its time is over.
            Some(head) => Due::Later(left.min(head)),
            None => Due::NoHead,
        }
    }
}
