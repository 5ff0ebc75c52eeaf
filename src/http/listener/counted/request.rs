//! The requests of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{REQUEST, Tally};
use crate::http::listener::room::Full;

/// What one header takes beside its own bytes.
const HEADER: usize = 96;

/// One request from its head until HTTP has let go of the last piece of its answer.
pub(in crate::http::listener) struct Underway {
    pub(super) tally: Arc<Tally>,
    /// Bytes that are counted for it.
    held: AtomicUsize,
    /// It is whole, and the broker works at it.
    ours: AtomicBool,
}

impl Underway {
    /// Counts the head of a request. What is there for one small request is part of
    /// [`CONNECTION`](crate::http::listener::room::CONNECTION).
    pub(in crate::http::listener) fn begin<B>(
        tally: &Arc<Tally>,
        request: &hyper::Request<B>,
    ) -> Result<Arc<Self>, Full> {
        tally.seat.note_progress();
        tally.taken_from_buffers();
        let names = request.headers().iter();
        let headers: usize = names.map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum();
        let others = tally.requests.fetch_add(1, Ordering::Relaxed);
        let underway =
            Self { tally: Arc::clone(tally), held: AtomicUsize::new(0), ours: AtomicBool::new(false) };
        let own = if others == 0 { 0 } else { REQUEST };
        underway.hold(own + headers.saturating_sub(2 * 1024))?;
        Ok(Arc::new(underway))
    }

    /// A request for which there was no memory, and which is refused at once.
    pub(in crate::http::listener) fn uncounted(tally: &Arc<Tally>) -> Arc<Self> {
        tally.requests.fetch_add(1, Ordering::Relaxed);
        let (held, ours) = Default::default();
        Arc::new(Self { tally: Arc::clone(tally), held, ours })
    }

    pub(super) fn hold(&self, bytes: usize) -> Result<(), Full> {
        if bytes > 0 {
            self.tally.seat.hold(bytes)?;
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Its body is whole.
    pub(in crate::http::listener) fn is_whole(&self) {
        if !self.ours.swap(true, Ordering::Relaxed) {
            self.tally.seat.begin_ours();
        }
    }

    /// Its answer has begun: the client is to take it.
    pub(in crate::http::listener) fn is_answered(&self) {
        if self.ours.swap(false, Ordering::Relaxed) {
            self.tally.seat.end_ours();
        }
    }

    /// Whether its answer is to be the last of the connection.
    pub(in crate::http::listener) fn ends_where_crowded(&self) -> bool {
        self.tally.seat.end_where_crowded()
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.is_answered();
        self.tally.requests.fetch_sub(1, Ordering::Relaxed);
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 {
            self.tally.seat.release(held);
        }
    }
}
