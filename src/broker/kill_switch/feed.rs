//! What this node knows of the stops, as one book that followers wait on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::KillSwitch;
use crate::domain::digest::Digest;
use crate::domain::revocation::{Book, Revision};
use crate::store::StoreError;

/// How soon followers are told what this node learnt from others. Of its own changes they are told at once.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Feed {
    merged: watch::Sender<Arc<Book>>,
    /// What `merged` was made of.
    of: Mutex<Option<[Arc<Book>; 3]>>,
    changed: Notify,
    is_watched: AtomicBool,
}

impl KillSwitch {
    /// Everything that this node knows, merged.
    pub(in crate::broker) fn merged(&self) -> Arc<Book> {
        let mut of = self.feed.of.lock().unwrap_or_else(PoisonError::into_inner);
        let books = self.books();
        let is_same = |of: &[Arc<Book>; 3]| of.iter().zip(&books).all(|(one, other)| Arc::ptr_eq(one, other));
        if of.as_ref().is_some_and(is_same) {
            return Arc::clone(&self.feed.merged.borrow());
        }
        let [waiting, view, stored] = &books;
        let mut merged = Book::clone(view);
        merged.merge(stored);
        merged.merge(waiting);
        let merged = Arc::new(merged);
        *of = Some(books);
        self.feed.merged.send_replace(Arc::clone(&merged));
        merged
    }

    /// The same, told anew whenever it changes.
    pub(in crate::broker) fn watch(self: &Arc<Self>) -> watch::Receiver<Arc<Book>> {
        let receiver = self.feed.merged.subscribe();
        self.merged();
        if !self.feed.is_watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).look_for_changes());
        }
        receiver
    }

    async fn look_for_changes(self: Arc<Self>) {
        let (feed, none) = (&self.feed, |feed: &Feed| feed.merged.receiver_count() == 0);
        loop {
            let _looks = tokio::time::timeout(LOOK, feed.changed.notified()).await;
            self.merged();
            if none(feed) {
                feed.is_watched.store(false, Ordering::Release);
                // Whoever came meanwhile has started another task, or needs this one.
                if none(feed) || feed.is_watched.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
    }

    /// A change was made here.
    pub(super) fn tell_followers(&self) {
        self.feed.changed.notify_one();
    }

    /// How old what this node knows may be; none where it cannot tell. The store is asked where the authority cannot be.
    pub(in crate::broker) async fn age(&self) -> Option<Duration> {
        if self.is_behind() {
            return None;
        }
        if self.revocation.view().is_ok() {
            return Some(self.revocation.view_age());
        }
        (self.store.healthy() && self.stored().await.is_ok()).then_some(Duration::ZERO)
    }

    /// Which change of the store's history had the number.
    pub(in crate::broker) async fn mark_of(&self, revision: Revision) -> Result<Option<Digest>, StoreError> {
        self.store.mark(revision).await
    }
}
