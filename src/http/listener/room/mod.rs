//! The room that the callers of one listener share: connections, connections of one source, and memory.
//!
//! Each connection has a [`Seat`], which counts what the connection and its unfinished requests hold. When the
//! room is full, connections whose client has done nothing useful for a while are closed, the one that did so
//! least lately first. A connection whose requests wait for the broker is never among them. When none can be
//! closed, a new connection waits in the backlog and a new request is refused.
//!
//! In the room of operators each connection gives way sooner, so that whoever comes to stop an agent finds a seat
//! whatever the others ask: see [`Room::for_operators`].
//!
//! A source has a share of the connections, and as large a share of the memory. So one source alone cannot fill the
//! room.

mod seat;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::domain::source::network;
use crate::http::settings::Bounds;
pub(in crate::http) use seat::Full;
pub(super) use seat::Seat;
use seat::Standing;

/// What a connection holds while it does nothing, with one small request: buffers, TLS, tasks. Measured.
pub(super) const CONNECTION: usize = 24 * 1024;
/// See [`Room::stalled`].
const STALLED: Duration = Duration::from_secs(2);
/// Whoever keeps operators out by holding connections open keeps each for no longer.
const STALLED_OPERATOR: Duration = Duration::from_millis(250);
/// After a look that found nobody to close.
const PAUSE: Duration = Duration::from_millis(50);

/// The room of one listener.
#[derive(Debug)]
pub struct Room {
    bounds: Bounds,
    /// Bytes that the connections of one source may hold.
    source_memory: usize,
    /// A client that did something useful within this time is not closed to make room for another.
    stalled: Duration,
    /// Of operators: beyond so many connections, each ends with its next answer.
    crowded: Option<usize>,
    begun: Instant,
    taken: Mutex<Taken>,
    /// Somebody left.
    left: Notify,
    shed: AtomicU64,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Standing>>,
    sources: HashMap<IpAddr, Share>,
    /// Bytes, also of those that were told to end and are not gone yet.
    memory: usize,
    /// Of these, what will be free when they are gone.
    ending: usize,
    /// Connections that are open, also those that were told to end.
    open: usize,
    /// When it makes sense to look again for somebody to close, whatever their source; milliseconds after `Room::begun`.
    look_again: u64,
}

/// What the connections of one source hold.
#[derive(Debug, Default)]
struct Share {
    connections: usize,
    memory: usize,
    /// As `Taken::look_again`, among its own: one source that has nobody to close must not hide those of another.
    look_again: u64,
}

impl Room {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Self::with(bounds, STALLED, None)
    }

    /// The room of the listener for operators. Its idle connections give way at once. When more than half of it is
    /// taken, each connection ends with its next answer. And whoever takes an answer piece by piece does nothing useful
    /// by that: only connecting, a handshake and a whole request count. So no caller keeps a seat for longer than one
    /// request, or than [`STALLED_OPERATOR`].
    pub fn for_operators(bounds: Bounds) -> Arc<Self> {
        Self::with(bounds, STALLED_OPERATOR, Some(bounds.connections / 2))
    }

    fn with(bounds: Bounds, stalled: Duration, crowded: Option<usize>) -> Arc<Self> {
        let (taken, left, shed) = Default::default();
        let source_memory = bounds.memory / bounds.connections.max(1) * bounds.per_source;
        Arc::new(Self { bounds, source_memory, stalled, crowded, begun: Instant::now(), taken, left, shed })
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.lock().open
    }

    /// Bytes that the connections and their unfinished requests hold.
    pub fn memory(&self) -> usize {
        self.lock().memory
    }

    /// Connections that were closed to make room for others, or not taken.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Returns when there is room for one more connection. Until then callers wait in the backlog.
    pub(super) async fn vacancy(&self) {
        loop {
            let left = self.left.notified();
            {
                let mut taken = self.lock();
                let fits = |taken: &Taken| {
                    taken.open < self.bounds.connections && taken.memory + CONNECTION <= self.bounds.memory
                };
                if fits(&taken) {
                    return;
                }
                // Those that were told to end leave soon.
                let full = taken.seats.len() >= self.bounds.connections;
                if full || taken.memory - taken.ending + CONNECTION > self.bounds.memory {
                    self.close_stalled(&mut taken, CONNECTION, None);
                }
            }
            // The time-out is for those that become stalled.
            let _ = tokio::time::timeout(PAUSE, left).await;
        }
    }

    /// A seat for a connection from `peer`; none where its source has too many already.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let source = network(peer);
        let mut taken = self.lock();
        let many = |taken: &Taken| {
            taken.sources.get(&source).is_some_and(|share| {
                share.connections >= self.bounds.per_source || share.memory + CONNECTION > self.source_memory
            })
        };
        if many(&taken) {
            // For the next one: there is room again when those are gone.
            self.close_stalled(&mut taken, 0, Some(source));
            self.shed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.seat(&mut taken, source, false))
    }

    /// A seat for a connection from `peer`, which speaks for many sources and has no share of its own.
    pub(super) fn take_shared(self: &Arc<Self>, peer: IpAddr) -> Seat {
        self.seat(&mut self.lock(), network(peer), true)
    }

    fn seat(self: &Arc<Self>, taken: &mut Taken, source: IpAddr, shared: bool) -> Seat {
        let standing = Arc::new(Standing {
            source,
            shared,
            begun: self.begun,
            progress: AtomicU64::new(millis(self.begun)),
            ours: AtomicUsize::new(0),
            needs: AtomicUsize::new(CONNECTION),
            has: AtomicUsize::new(CONNECTION),
            last: AtomicBool::new(false),
            leave: Notify::new(),
            end: Notify::new(),
        });
        let number = taken.next;
        taken.next += 1;
        taken.open += 1;
        taken.sources.entry(source).or_default().connections += 1;
        taken.add(source, CONNECTION);
        taken.seats.insert(number, Arc::clone(&standing));
        Seat { room: Arc::clone(self), number, standing }
    }

    /// Waits until every connection has left.
    pub(super) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().open == 0 {
                return;
            }
            let _ = tokio::time::timeout(PAUSE, left).await;
        }
    }

    /// Closes connections that have been stalled longest, of `source` alone where one is given, until `wanted` bytes
    /// and a place are free. Closes some more at once, so that the next need not look.
    fn close_stalled(&self, taken: &mut Taken, wanted: usize, source: Option<IpAddr>) {
        let now = millis(self.begun);
        if now < *taken.look_again(source) {
            return;
        }
        let stalled = |standing: &Standing| {
            let quiet = now.saturating_sub(standing.progress.load(Ordering::Relaxed));
            u128::from(quiet) >= self.stalled.as_millis() && standing.ours.load(Ordering::Relaxed) == 0
        };
        let mut found: Vec<(u64, u64)> = taken
            .seats
            .iter()
            .filter(|(_, standing)| source.is_none_or(|source| standing.source == source))
            .filter(|(_, standing)| stalled(standing))
            .map(|(number, standing)| (standing.progress.load(Ordering::Relaxed), *number))
            .collect();
        if found.is_empty() {
            *taken.look_again(source) = now + u64::try_from(PAUSE.as_millis()).unwrap_or(0);
            return;
        }
        found.sort_unstable();
        let enough = (self.bounds.memory - self.bounds.memory / 32).saturating_sub(wanted);
        let least = 1 + taken.seats.len() / 64;
        for (closed, (_, number)) in found.into_iter().enumerate() {
            if closed >= least && taken.memory - taken.ending <= enough {
                break;
            }
            if let Some(standing) = taken.seats.remove(&number) {
                taken.ending += standing.has.load(Ordering::Relaxed);
                standing.end.notify_one();
                self.shed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// No code can panic while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes back what a connection has that is gone.
    fn remove(&mut self, number: u64, standing: &Standing) {
        let has = standing.has.load(Ordering::Relaxed);
        if self.seats.remove(&number).is_none() {
            self.ending -= has;
        }
        self.open -= 1;
        self.subtract(standing.source, has);
        if let Some(share) = self.sources.get_mut(&standing.source) {
            share.connections -= 1;
            if share.connections == 0 {
                self.sources.remove(&standing.source);
            }
        }
    }

    /// Counts one that was told to end among the others again.
    fn take_back(&mut self, number: u64, standing: &Arc<Standing>) {
        if self.seats.insert(number, Arc::clone(standing)).is_none() {
            self.ending -= standing.has.load(Ordering::Relaxed);
        }
    }

    /// Of one source, or of all.
    fn look_again(&mut self, source: Option<IpAddr>) -> &mut u64 {
        match source.and_then(|source| self.sources.get_mut(&source)) {
            Some(share) => &mut share.look_again,
            None => &mut self.look_again,
        }
    }

    fn add(&mut self, source: IpAddr, bytes: usize) {
        self.memory += bytes;
        self.sources.entry(source).or_default().memory += bytes;
    }

    fn subtract(&mut self, source: IpAddr, bytes: usize) {
        self.memory -= bytes;
        if let Some(share) = self.sources.get_mut(&source) {
            share.memory -= bytes;
        }
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
