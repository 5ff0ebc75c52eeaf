//! What the writer has committed, for everyone else to read without waiting for it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::tip::Tip;
use crate::domain::revocation::StopBook;
use crate::store::error::StoreError;
use crate::store::write::Head;

#[derive(Debug)]
pub(super) struct Published {
    head: ArcSwap<Head>,
    book: ArcSwap<StopBook>,
    fault: ArcSwapOption<StoreError>,
}

impl Published {
    pub(super) fn new(tip: &Tip) -> Self {
        Self {
            head: ArcSwap::from_pointee(head_of(tip)),
            book: ArcSwap::new(Arc::clone(&tip.book)),
            fault: ArcSwapOption::empty(),
        }
    }

    pub(super) fn advance(&self, tip: &Tip) {
        self.head.store(Arc::new(head_of(tip)));
        if !Arc::ptr_eq(&self.book.load(), &tip.book) {
            self.book.store(Arc::clone(&tip.book));
        }
    }

    pub(super) fn head(&self) -> Head {
        **self.head.load()
    }

    pub(super) fn book(&self) -> arc_swap::Guard<Arc<StopBook>> {
        self.book.load()
    }

    pub(super) fn set_fault(&self, fault: Option<&StoreError>) {
        if fault.is_some() || self.fault.load().is_some() {
            self.fault.store(fault.cloned().map(Arc::new));
        }
    }

    pub(super) fn fault(&self) -> Option<Arc<StoreError>> {
        self.fault.load_full()
    }
}

fn head_of(tip: &Tip) -> Head {
    Head { size: tip.frontier.size(), root: tip.frontier.root() }
}
