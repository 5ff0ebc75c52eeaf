//! This broker's own copy of every standing. It only ever learns: what it once knew to be stopped stays
//! stopped until a later change says otherwise, whatever became of the authority.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::domain::revocation::{Levels, Standing, StopBook, Target, Verdict};
use crate::domain::time::{Clock, Timestamp};

#[derive(Debug)]
pub(super) struct View {
    book: ArcSwap<StopBook>,
    /// Held by whoever replaces the book, so that no change is lost between two of them.
    writing: Mutex<()>,
    fresh: ArcSwapOption<Moment>,
    clock: Clock,
}

/// When a question was sent whose answer brought the view up to date.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Is not moved by who sets the clock, but may stand still while a machine sleeps.
    steady: Instant,
    /// Goes on while a machine sleeps.
    clock: Timestamp,
}

impl View {
    pub(super) fn new(clock: Clock) -> Self {
        Self { book: ArcSwap::default(), writing: Mutex::default(), fresh: ArcSwapOption::empty(), clock }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { steady: Instant::now(), clock: self.clock.now() }
    }

    /// Merges `standings` and drops what can tell nothing any more.
    pub(super) fn learn<'a>(&self, standings: impl IntoIterator<Item = (&'a Target, &'a Standing)>) {
        let _writing: MutexGuard<'_, ()> = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = StopBook::clone(&self.book.load());
        for (target, standing) in standings {
            book.note(target.clone(), *standing);
        }
        book.forget_spent(self.clock.now());
        self.book.store(book.into());
    }

    pub(super) fn get(&self, target: &Target) -> Option<Standing> {
        self.book.load().get(target)
    }

    pub(super) fn book(&self) -> Arc<StopBook> {
        self.book.load_full()
    }

    pub(super) fn verdict(&self, levels: &Levels) -> Verdict {
        self.book.load().verdict(levels)
    }

    /// The view holds all that the authority knew when it got a question sent at `asked`.
    pub(super) fn is_up_to_date_since(&self, asked: Moment) {
        self.fresh.store(Some(asked.into()));
    }

    /// By the clock that saw more time pass; [`Duration::MAX`] before the view was ever up to date.
    pub(super) fn age(&self) -> Duration {
        let Some(fresh) = self.fresh.load_full() else { return Duration::MAX };
        fresh.steady.elapsed().max(self.clock.now().since(fresh.clock))
    }
}
