//! Stops in effect whose events wait for the store. Until it has them they count beside what it says, for every token,
//! whenever issued: they have no number yet. A file beside the store keeps them over a restart.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};

use crate::domain::id::StopId;
use crate::domain::revocation::{Book, Stop};
use crate::store::{MAX_ENDS, Spool, StoreError, WaitingChange};

/// How long a stop waits for the file, which is on the disk of the store and may stall like it.
const FILE_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Unjournaled {
    spool: Arc<Spool>,
    waiting: Arc<Mutex<Waiting>>,
    /// The turn to change the file.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Stops that wait, and whose write the store has begun and not ended.
    in_flight: watch::Sender<HashSet<StopId>>,
}

#[derive(Debug, Default)]
struct Waiting {
    stops: Vec<WaitingChange>,
    /// What `stops` say.
    book: Arc<Book>,
    /// Those that the file holds.
    written: HashSet<StopId>,
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unjournaled {
    pub(super) fn new(spool: Spool, left: Vec<WaitingChange>) -> Self {
        let written = left.iter().map(|stop| stop.stop.id).collect();
        let mut waiting = Waiting { written, ..Waiting::default() };
        left.into_iter().for_each(|stop| waiting.add(stop));
        Self {
            spool: Arc::new(spool),
            waiting: Arc::new(Mutex::new(waiting)),
            writing: Arc::default(),
            in_flight: watch::Sender::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Takes a stop in, which is in effect from here on. Only [`Unjournaled::keep`] makes it outlive this process. False
    /// for the end of a token where as many wait as may: it is not taken.
    pub(super) fn add(&self, stop: WaitingChange) -> bool {
        let mut waiting = self.lock();
        let has_room = !stop.ended || waiting.ends() < MAX_ENDS;
        if has_room {
            waiting.add(stop);
        }
        has_room
    }

    /// The same for a stop that the store is still writing: nobody else journals it before it has landed.
    pub(super) fn add_in_flight(&self, stop: WaitingChange) -> bool {
        let id = stop.stop.id;
        self.in_flight.send_modify(|ids| {
            ids.insert(id);
        });
        let is_added = self.add(stop);
        if !is_added {
            self.land(id);
        }
        is_added
    }

    /// The store has ended the write of this stop, well or badly.
    pub(super) fn land(&self, id: StopId) {
        self.in_flight.send_modify(|ids| {
            ids.remove(&id);
        });
    }

    /// Until every stop that is in flight now has landed.
    pub(super) async fn wait_for_landings(&self) {
        let mut in_flight = self.in_flight.subscribe();
        let now = in_flight.borrow_and_update().clone();
        // An error means that there is no sender any more, which `self` holds.
        let _landed = in_flight.wait_for(|ids| now.is_disjoint(ids)).await;
    }

    /// Writes down a stop that was added; it outlives this process when this returns `Ok`.
    ///
    /// # Errors
    /// `File` where the file cannot be written, `Unavailable` where that takes too long; the write goes on then.
    pub(super) async fn keep(&self, id: StopId) -> Result<(), StoreError> {
        let kept = async {
            let turn = Arc::clone(&self.writing).lock_owned().await;
            // Whoever had the turn before may have written this one too.
            if self.lock().written.contains(&id) { Ok(()) } else { self.write(turn).await }
        };
        let late = |_| Err(StoreError::Unavailable("the file beside it is not written in time".into()));
        tokio::time::timeout(FILE_PATIENCE, kept).await.unwrap_or_else(late)
    }

    /// Forgets those that are in the store now: there is no moment at which neither knows of one.
    pub(super) async fn forget(&self, journaled: &HashSet<StopId>) -> Result<(), StoreError> {
        self.lock().remove(journaled);
        self.save().await
    }

    /// Writes what waits to the file.
    pub(super) async fn save(&self) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.writing).lock_owned().await;
        if self.lock().is_written() { Ok(()) } else { self.write(turn).await }
    }

    /// Goes on when the caller does not wait any longer, and has the turn until it ends: two would spoil the file.
    async fn write(&self, turn: OwnedMutexGuard<()>) -> Result<(), StoreError> {
        let (spool, waiting) = (Arc::clone(&self.spool), Arc::clone(&self.waiting));
        let writing = tokio::task::spawn_blocking(move || {
            let (stops, for_stop) = lock(&waiting).to_write();
            spool.replace(&stops, for_stop)?;
            lock(&waiting).written = stops.iter().map(|stop| stop.stop.id).collect();
            drop(turn);
            Ok(())
        });
        writing.await.map_err(|_| StoreError::Closed)?
    }

    /// Those that somebody has to journal: the store is writing none of them.
    pub(super) fn to_journal(&self) -> Vec<WaitingChange> {
        let mut stops = self.lock().stops.clone();
        let in_flight = self.in_flight.borrow();
        stops.retain(|stop| !in_flight.contains(&stop.stop.id));
        stops
    }

    /// The stop `id`, if it waits.
    pub(super) fn of(&self, id: StopId) -> Option<Stop> {
        self.lock().stops.iter().find(|waiting| waiting.stop.id == id).map(|waiting| waiting.stop.clone())
    }

    pub(super) fn targets(&self) -> Vec<crate::revocation::UnnumberedStop> {
        let waiting = self.lock();
        let one = |stop: &WaitingChange| crate::revocation::UnnumberedStop {
            id: stop.stop.id,
            target: stop.stop.target.clone(),
        };
        waiting.stops.iter().map(one).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().stops.len()
    }

    pub(super) fn unwritten(&self) -> usize {
        let waiting = self.lock();
        waiting.stops.iter().filter(|stop| !waiting.written.contains(&stop.stop.id)).count()
    }

    /// What outlives this process.
    pub(super) fn written(&self) -> Book {
        let waiting = self.lock();
        let mut book = Book::default();
        for stop in waiting.stops.iter().filter(|stop| waiting.written.contains(&stop.stop.id)) {
            book.note_unnumbered(stop.stop.target.clone(), stop.stop.id);
        }
        book
    }

    /// Keeps room on the disk for stops that come later, unless some wait now.
    pub(super) async fn keep_room(&self) {
        let Ok(turn) = Arc::clone(&self.writing).try_lock_owned() else { return };
        if self.len() > 0 {
            return;
        }
        let spool = Arc::clone(&self.spool);
        let keeping = tokio::task::spawn_blocking(move || {
            spool.keep_reserve();
            drop(turn);
        });
        // An error is a panic, which was logged.
        let _ended = keeping.await;
    }

    pub(super) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.lock().book)
    }
}

impl Waiting {
    fn add(&mut self, stop: WaitingChange) {
        // Of several stops of one target the first is numbered, and is the one that can be lifted.
        if self.book.unnumbered_of(&stop.stop.target).is_none() {
            let mut book = Book::clone(&self.book);
            book.note_unnumbered(stop.stop.target.clone(), stop.stop.id);
            self.book = book.into();
        }
        self.stops.push(stop);
    }

    fn ends(&self) -> usize {
        self.stops.iter().filter(|stop| stop.ended).count()
    }

    /// All, and whether a stop of an operator is among those that the file lacks.
    fn to_write(&self) -> (Vec<WaitingChange>, bool) {
        let lacks_stop = self.stops.iter().any(|stop| !stop.ended && !self.written.contains(&stop.stop.id));
        (self.stops.clone(), lacks_stop)
    }

    /// Whether the file holds these and no others.
    fn is_written(&self) -> bool {
        self.stops.len() == self.written.len()
            && self.stops.iter().all(|stop| self.written.contains(&stop.stop.id))
    }

    fn remove(&mut self, journaled: &HashSet<StopId>) {
        self.stops.retain(|stop| !journaled.contains(&stop.stop.id));
        let mut book = Book::default();
        for stop in self.stops.iter().rev() {
            book.note_unnumbered(stop.stop.target.clone(), stop.stop.id);
        }
        self.book = book.into();
    }
}
