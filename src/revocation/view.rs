//! This node's own copy of every standing. It only ever learns: what it once knew to be stopped stays
//! stopped until a later change says otherwise, whatever became of the authority.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::revocation::Book;

#[derive(Debug, Default)]
pub(super) struct View {
    book: ArcSwap<Book>,
    /// Held by whoever replaces the book, so that no change is lost between two of them.
    writing: Mutex<()>,
    fresh: ArcSwapOption<SinceStart>,
}

/// When a question was sent whose answer brought the view up to date: the time since the machine started, which goes on
/// while it sleeps and which nobody can set.
#[derive(Debug, Clone, Copy)]
pub(super) struct SinceStart(Duration);

impl SinceStart {
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) =
            (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
        Self(Duration::new(seconds, nanos))
    }

    pub(super) fn time(self) -> Duration {
        self.0
    }

    /// A text that is another at each instant.
    pub(super) fn beat(self) -> String {
        self.0.as_nanos().to_string()
    }
}

impl View {
    /// Changes the book by `change`; readers see all of it or nothing.
    pub(super) fn learn(&self, change: impl FnOnce(&mut Book)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = Book::clone(&self.book.load());
        change(&mut book);
        self.book.store(book.into());
    }

    /// Merges the store's book, which is complete up to its own revision.
    pub(super) fn learn_book(&self, durable: &Book) {
        if durable.revision() <= self.book.load().revision() && durable.floor() <= self.book.load().floor() {
            return;
        }
        self.learn(|book| book.merge(durable));
    }

    pub(super) fn book(&self) -> Arc<Book> {
        self.book.load_full()
    }

    /// The view holds all that the authority knew when it got a question sent at `asked`.
    pub(super) fn is_up_to_date_since(&self, asked: SinceStart) {
        self.fresh.store(Some(asked.into()));
    }

    /// [`Duration::MAX`] before the view was ever up to date.
    pub(super) fn age(&self) -> Duration {
        let Some(fresh) = self.fresh.load_full() else { return Duration::MAX };
        SinceStart::now().0.saturating_sub(fresh.0)
    }
}
