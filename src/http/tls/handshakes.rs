//! How many handshakes are under way at once.
//!
//! A flood of clients that begin and do not go on must not keep out one that does. So there is no queue: when
//! there are too many, the oldest ends, for an honest handshake takes milliseconds and is never the oldest
//! of many for long.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct Handshakes {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// Dropping one ends its handshake.
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of one handshake, given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'h> {
    handshakes: &'h Handshakes,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    pub(super) fn begin(&self) -> Place<'_> {
        let (keep, lost) = oneshot::channel();
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.places.insert(number, keep);
        if open.places.len() > self.max {
            open.places.pop_first();
        }
        Place { handshakes: self, number, lost }
    }

    /// No code can panic while it holds the lock, and a count would be no reason to stop serving.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Returns when a newer handshake needs the place.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.handshakes.open().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_gives_way_and_whoever_is_done_gives_back() {
        let handshakes = Handshakes::new(2);
        let mut first = handshakes.begin();
        let second = handshakes.begin();
        drop(second);
        let mut third = handshakes.begin();
        assert!(first.lost().now_or_never().is_none(), "two are under way, not three");
        let mut fourth = handshakes.begin();
        assert!(first.lost().now_or_never().is_some());
        assert!(third.lost().now_or_never().is_none() && fourth.lost().now_or_never().is_none());
        drop((first, third, fourth));
        assert!(handshakes.open().places.is_empty());
    }
}
