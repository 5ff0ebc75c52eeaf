//! Which of this node's stops without a number the authority has: they are not pushed again and again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::id::StopId;
use crate::revocation::UnnumberedStop;

/// Counts for one life of the authority, which forgets them when another begins.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<Option<Life>>);

#[derive(Debug)]
struct Life {
    name: Arc<str>,
    stops: HashSet<StopId>,
}

impl Given {
    /// The authority took these in this life; of others nobody asks any more.
    pub(super) fn note(&self, life: &Arc<str>, stops: &[UnnumberedStop]) {
        let stops = stops.iter().map(|stop| stop.id).collect();
        self.set(Some(Life { name: Arc::clone(life), stops }));
    }

    /// Whatever the authority took is given again.
    pub(super) fn forget(&self) {
        self.set(None);
    }

    /// Those of `stops` that the authority took in this life.
    pub(super) fn among(&self, stops: &[UnnumberedStop], life: &str) -> HashSet<StopId> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(given) = given.as_ref().filter(|given| *given.name == *life) else { return HashSet::new() };
        stops.iter().map(|stop| stop.id).filter(|id| given.stops.contains(id)).collect()
    }

    fn set(&self, life: Option<Life>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }
}
