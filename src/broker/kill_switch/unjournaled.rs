//! Stops in effect whose events wait for the store. Until it has them they count beside what it says, for every token,
//! whenever issued: they have no number yet. A file beside the store keeps them over a restart.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::id::StopId;
use crate::domain::revocation::Book;
use crate::store::{Spool, StoreError, Unnumbered};

#[derive(Debug)]
pub(super) struct Unjournaled {
    spool: Arc<Spool>,
    waiting: Mutex<Waiting>,
    /// The turn to change the file.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    stops: Vec<Unnumbered>,
    /// What `stops` say.
    book: Arc<Book>,
    /// Those that the file holds.
    written: HashSet<StopId>,
}

impl Unjournaled {
    pub(super) fn new(spool: Spool, left: Vec<Unnumbered>) -> Self {
        let written = left.iter().map(|stop| stop.stop.id).collect();
        let mut waiting = Waiting { written, ..Waiting::default() };
        left.into_iter().for_each(|stop| waiting.add(stop));
        Self { spool: Arc::new(spool), waiting: Mutex::new(waiting), writing: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stop in: it is in effect when this is called, and kept over a restart when this returns `Ok`.
    pub(super) async fn take(&self, stop: Unnumbered) -> Result<(), StoreError> {
        let id = stop.stop.id;
        self.lock().add(stop);
        let turn = self.writing.lock().await;
        // Whoever had the turn before may have written this one too.
        if self.lock().written.contains(&id) {
            return Ok(());
        }
        self.write(turn).await
    }

    /// Forgets those that are in the store now: there is no moment at which neither knows of one.
    pub(super) async fn forget(&self, journaled: &HashSet<StopId>) -> Result<(), StoreError> {
        self.lock().remove(journaled);
        self.save().await
    }

    /// Writes what waits to the file.
    pub(super) async fn save(&self) -> Result<(), StoreError> {
        self.write(self.writing.lock().await).await
    }

    async fn write(&self, _turn: tokio::sync::MutexGuard<'_, ()>) -> Result<(), StoreError> {
        let (spool, stops) = (Arc::clone(&self.spool), self.lock().stops.clone());
        let saved = stops.iter().map(|stop| stop.stop.id).collect();
        let done = tokio::task::spawn_blocking(move || spool.replace(&stops)).await;
        done.map_err(|_| StoreError::Closed)??;
        self.lock().written = saved;
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<Unnumbered> {
        self.lock().stops.clone()
    }

    pub(super) fn targets(&self) -> Vec<crate::revocation::Unnumbered> {
        let waiting = self.lock();
        let one = |stop: &Unnumbered| crate::revocation::Unnumbered {
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

    pub(super) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.lock().book)
    }
}

impl Waiting {
    fn add(&mut self, stop: Unnumbered) {
        // Of several stops of one target the first is numbered, and is the one that can be lifted.
        if self.book.unnumbered_of(&stop.stop.target).is_none() {
            let mut book = Book::clone(&self.book);
            book.note_unnumbered(stop.stop.target.clone(), stop.stop.id);
            self.book = book.into();
        }
        self.stops.push(stop);
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
