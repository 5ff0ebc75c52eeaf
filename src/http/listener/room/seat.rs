//! What one connection holds of the room, and when its client last did something useful.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{CONNECTION, Room, Taken, millis};

/// What is reserved at once beyond that.
pub(super) const STEP: usize = 16 * 1024;

/// How one connection stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) source: IpAddr,
    /// It speaks for many sources, so that no source's share bounds it.
    pub(super) shared: bool,
    pub(super) begun: Instant,
    /// When its client last did something useful; milliseconds after `begun`.
    pub(super) progress: AtomicU64,
    /// Its requests that are whole and wait for the broker.
    pub(super) ours: AtomicUsize,
    /// Bytes that it needs.
    pub(super) needs: AtomicUsize,
    /// Bytes that it has of the room; changed under the room's lock.
    pub(super) has: AtomicUsize,
    /// Others need its place, so it ends with the answers that are underway.
    pub(super) last: AtomicBool,
    /// Tells a connection of HTTP/2 so.
    pub(super) leave: Notify,
    pub(super) end: Notify,
}

/// There is no memory for this, and nobody could be closed to make some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for unfinished requests")]
pub(in crate::http) struct Full;

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(in crate::http::listener) struct Seat {
    pub(super) room: Arc<Room>,
    pub(super) number: u64,
    pub(super) standing: Arc<Standing>,
}

impl Seat {
    /// Counts `bytes` more.
    pub(in crate::http::listener) fn hold(&self, bytes: usize) -> Result<(), Full> {
        let needs = self.standing.needs.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if needs <= self.standing.has.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut taken = self.room.lock();
        // If it was told to end, that is decided anew when all that came is read: see `stays`.
        taken.take_back(self.number, &self.standing);
        let more = needs.next_multiple_of(STEP).saturating_sub(self.standing.has.load(Ordering::Relaxed));
        let (source, room) = (self.standing.source, &self.room);
        let shared = self.standing.shared;
        let own = |taken: &Taken| match taken.sources.get(&source) {
            Some(share) if !shared => share.memory,
            _ => 0,
        };
        let fits = |taken: &Taken| {
            taken.memory + more <= room.bounds.memory && (shared || own(taken) + more <= room.source_memory)
        };
        if !fits(&taken) {
            // There is room again when those are gone, for whoever asks then.
            let only = (!shared && own(&taken) + more > room.source_memory).then_some(source);
            room.close_stalled(&mut taken, more, only);
            self.standing.needs.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Full);
        }
        self.standing.has.fetch_add(more, Ordering::Relaxed);
        taken.add(source, more);
        Ok(())
    }

    /// Counts `bytes` less.
    pub(in crate::http::listener) fn release(&self, bytes: usize) {
        let needs = self.standing.needs.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        let has = self.standing.has.load(Ordering::Relaxed);
        // A little is kept, so that a connection in use does not take the lock for each request.
        if has <= needs.max(CONNECTION) + 2 * STEP {
            return;
        }
        let mut taken = self.room.lock();
        if taken.seats.contains_key(&self.number) {
            let less = self.standing.has.load(Ordering::Relaxed).saturating_sub(needs.max(CONNECTION) + STEP);
            self.standing.has.fetch_sub(less, Ordering::Relaxed);
            taken.subtract(self.standing.source, less);
            self.room.left.notify_one();
        }
    }

    /// Its client did something useful, unless it is to leave.
    pub(in crate::http::listener) fn note_progress(&self) {
        if self.is_leaving() {
            return;
        }
        self.standing.progress.store(millis(self.standing.begun), Ordering::Relaxed);
    }

    /// Its client took a piece of an answer.
    pub(in crate::http::listener) fn note_taken(&self) {
        if self.room.crowded.is_none() {
            self.note_progress();
        }
    }

    /// Makes the answers that are underway the last ones, if others need the place; says whether they are.
    pub(in crate::http::listener) fn end_where_crowded(&self) -> bool {
        let Some(most) = self.room.crowded else { return false };
        if !self.is_leaving() && self.room.connections() > most {
            self.standing.last.store(true, Ordering::Relaxed);
            self.standing.leave.notify_one();
        }
        self.is_leaving()
    }

    /// Whether it ends with the answers that are underway.
    pub(in crate::http::listener) fn is_leaving(&self) -> bool {
        self.standing.last.load(Ordering::Relaxed)
    }

    /// Returns when it is to ask for nothing more.
    pub(in crate::http::listener) async fn leaves(&self) {
        self.standing.leave.notified().await;
    }

    /// For how long its client did nothing useful.
    pub(in crate::http::listener) fn quiet(&self) -> Duration {
        let progress = self.standing.progress.load(Ordering::Relaxed);
        Duration::from_millis(millis(self.standing.begun).saturating_sub(progress))
    }

    /// A request is whole, and waits for the broker from now on.
    pub(in crate::http::listener) fn begin_ours(&self) {
        self.standing.ours.fetch_add(1, Ordering::Relaxed);
    }

    /// It is answered, or was given up.
    pub(in crate::http::listener) fn end_ours(&self) {
        self.standing.ours.fetch_sub(1, Ordering::Relaxed);
        self.note_progress();
    }

    /// Whether it stays although it was told to end, as its client did something useful by then.
    pub(in crate::http::listener) fn stays(&self) -> bool {
        let lately = !self.is_leaving() && self.quiet() < self.room.stalled;
        if !lately && self.standing.ours.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.room.lock().take_back(self.number, &self.standing);
        self.room.shed.fetch_sub(1, Ordering::Relaxed);
        // Another has to go.
        self.room.left.notify_one();
        true
    }

    /// Returns when this connection has to make room for others, unless it [stays](Self::stays).
    pub(in crate::http::listener) async fn ended(&self) {
        self.standing.end.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.remove(self.number, &self.standing);
        drop(taken);
        self.room.left.notify_one();
    }
}
