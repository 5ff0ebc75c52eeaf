//! What the writer has committed, for everyone else to read without waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::tip::Tip;
use crate::domain::revocation::Book;
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::write::Head;

/// What was read of a store that could not be written when it was opened.
#[derive(Debug)]
pub(in crate::store) struct AtRest {
    pub(in crate::store) keys: Vec<SealedKey>,
    pub(in crate::store) origin: Option<String>,
}

#[derive(Debug)]
pub(in crate::store) struct Published {
    head: ArcSwap<Head>,
    book: ArcSwap<Book>,
    /// Of the tip whose book it is.
    generation: AtomicU64,
    fault: ArcSwapOption<StoreError>,
    /// What was read of a store that could not be written when it was opened, until it can be.
    at_rest: ArcSwapOption<AtRest>,
}

impl Published {
    pub(in crate::store) fn new(tip: &Tip) -> Self {
        Self {
            head: ArcSwap::from_pointee(head_of(tip)),
            book: ArcSwap::from_pointee(tip.book.clone()),
            generation: AtomicU64::new(tip.generation),
            fault: ArcSwapOption::empty(),
            at_rest: ArcSwapOption::empty(),
        }
    }

    /// Of a store that cannot be written from the first moment on.
    pub(in crate::store) fn of_unwritable(tip: &Tip, at_rest: AtRest, fault: &StoreError) -> Self {
        let published = Self { at_rest: ArcSwapOption::from_pointee(at_rest), ..Self::new(tip) };
        published.set_fault(Some(fault));
        published
    }

    pub(in crate::store) fn at_rest(&self) -> Option<Arc<AtRest>> {
        self.at_rest.load_full()
    }

    /// The database can be read again, and may change from now on.
    pub(in crate::store) fn forget_at_rest(&self) {
        self.at_rest.store(None);
    }

    pub(in crate::store) fn advance(&self, tip: &Tip) {
        self.head.store(Arc::new(head_of(tip)));
        let of = |book: &Book| (book.revision(), book.floor());
        let reread = self.generation.swap(tip.generation, Ordering::AcqRel) != tip.generation;
        if reread || of(&self.book.load()) != of(&tip.book) {
            self.book.store(Arc::new(tip.book.clone()));
        }
    }

    pub(in crate::store) fn head(&self) -> Head {
        **self.head.load()
    }

    pub(in crate::store) fn book(&self) -> Arc<Book> {
        self.book.load_full()
    }

    pub(in crate::store) fn set_fault(&self, fault: Option<&StoreError>) {
        if fault.is_some() || self.fault.load().is_some() {
            self.fault.store(fault.cloned().map(Arc::new));
        }
    }

    pub(in crate::store) fn fault(&self) -> Option<Arc<StoreError>> {
        self.fault.load_full()
    }
}

fn head_of(tip: &Tip) -> Head {
    Head { size: tip.frontier.size(), root: tip.frontier.root() }
}
