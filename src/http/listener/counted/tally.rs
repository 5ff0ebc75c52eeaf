//! What the parts of a connection count together, on its seat.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FREE, FREE_ANSWERS};
use crate::http::listener::room::{Full, Seat};
use crate::http::listener::{MAX_HEAD, WINDOW};

/// What a connection's parts count together.
#[derive(Debug)]
pub(in crate::http::listener) struct Tally {
    pub(in crate::http::listener) seat: Seat,
    /// Bytes that arrived since a head was whole or a piece of a body was taken: they are in buffers.
    arrived: AtomicUsize,
    /// The most that ever were, as buffers do not shrink; counted beyond [`FREE`].
    most: AtomicUsize,
    shaking_hands: AtomicBool,
    pub(super) requests: AtomicUsize,
    unsent: Mutex<Unsent>,
}

/// Pieces of answers that are in buffers, as their client does not take them. The last of a stream's pieces may wait
/// there when its handler is long done.
#[derive(Debug, Default)]
struct Unsent {
    /// Bytes of answers that HTTP has not let go of: see [`Answered`](super::Answered).
    waiting: usize,
    /// Bytes that went on from there since all below was flushed, to TLS or to the socket; at most [`BELOW`].
    below: usize,
    /// Bytes that are counted for both.
    held: usize,
}

/// The most that TLS buffers, or HTTP/1.1 copies behind a head.
const BELOW: usize = 64 * 1024;

impl Unsent {
    /// What is to be counted of it.
    fn countable(&self) -> usize {
        (self.waiting + self.below).saturating_sub(FREE_ANSWERS)
    }
}

impl Tally {
    pub(in crate::http::listener) fn new(seat: Seat, shaking_hands: bool) -> Arc<Self> {
        let (arrived, requests, unsent) = Default::default();
        let (most, shaking_hands) = (AtomicUsize::new(FREE), AtomicBool::new(shaking_hands));
        Arc::new(Self { seat, arrived, most, shaking_hands, requests, unsent })
    }

    /// The handshake is over, or there is none.
    pub(in crate::http::listener) fn shook_hands(&self) {
        self.shaking_hands.store(false, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.seat.note_progress();
    }

    /// Bytes went to the client. In a handshake that is its progress: the broker answers whole messages alone, a few
    /// times at most, and however slowly a message comes, its bytes are none.
    pub(super) fn wrote(&self) {
        if self.shaking_hands.load(Ordering::Relaxed) {
            self.seat.note_progress();
        }
    }

    pub(super) fn read(&self, bytes: usize) -> Result<(), Full> {
        // No more than this can be in the buffers of HTTP/1.1 or HTTP/2.
        let arrived = self.arrived.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let arrived = arrived.min(MAX_HEAD + WINDOW as usize);
        let most = self.most.load(Ordering::Relaxed);
        if arrived > most {
            self.seat.hold(arrived - most)?;
            self.most.store(arrived, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A piece of an answer goes into the buffers.
    pub(super) fn hand(&self, bytes: usize) -> Result<(), Full> {
        let mut unsent = self.unsent();
        let more = (unsent.countable() + bytes).saturating_sub(unsent.held);
        if more > 0 {
            self.seat.hold(more)?;
            unsent.held += more;
        }
        unsent.waiting += bytes;
        Ok(())
    }

    /// HTTP has let go of a piece of an answer: it was written, or its stream was reset.
    pub(super) fn let_go(&self, bytes: usize) {
        let mut unsent = self.unsent();
        unsent.waiting -= bytes;
        unsent.below = (unsent.below + bytes).min(BELOW);
    }

    /// Nothing is left in the buffers below HTTP. Pieces that wait for their stream's window stay counted.
    pub(super) fn flushed(&self) {
        let mut unsent = self.unsent();
        unsent.below = 0;
        let less = unsent.held.saturating_sub(unsent.countable());
        if less > 0 {
            unsent.held -= less;
            self.seat.release(less);
        }
    }

    /// No code can panic while it holds the lock.
    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is underway.
    pub(in crate::http::listener) fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether no request is underway, and all answers went out.
    pub(in crate::http::listener) fn is_through(&self) -> bool {
        let unsent = self.unsent();
        !self.has_requests() && unsent.waiting + unsent.below == 0
    }

    pub(super) fn taken_from_buffers(&self) {
        self.arrived.store(0, Ordering::Relaxed);
    }
}
