//! Tokens that their holders ended (RFC 7009). There may be hundreds of thousands, and each is dead for good, so they
//! are kept apart from the stops: in one growing set that every copy of a book shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::id::TokenId;
use crate::domain::revocation::Revision;

/// So that a table that grows keeps only few waiting.
const SHARDS: usize = 64;

/// A set that only grows, until [`Ended::forget`] drops what a floor has made superfluous.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tokens: [Shard; SHARDS],
    /// Ends up to this revision were dropped; tokens that were decided before it are dead by that.
    forgotten: AtomicU64,
    /// The last end that was added. Every check asks it, so it is read without the lock of `order`.
    newest: AtomicU64,
    /// In the order of their ends.
    order: Mutex<BTreeMap<Revision, TokenId>>,
}

#[derive(Debug, Default)]
struct Shard(Mutex<HashMap<TokenId, Revision>>);

impl Default for Shared {
    fn default() -> Self {
        let tokens = std::array::from_fn(|_| Shard::default());
        Self { tokens, forgotten: AtomicU64::new(0), newest: AtomicU64::new(0), order: Mutex::default() }
    }
}

impl Shared {
    fn shard(&self, token: TokenId) -> &Shard {
        // The last bits of a UUID version 7 are random.
        &self.tokens[usize::from(token.last_byte()) % SHARDS]
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, Revision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ended {
    /// Whether the token, decided at `decided`, ended, or may have been among those that were forgotten.
    pub(super) fn kills(&self, token: TokenId, decided: Revision) -> bool {
        // In this order: what is dropped between the two looks is covered by the second.
        self.contains(token) || decided.number() < self.0.forgotten.load(Ordering::Acquire)
    }

    pub(super) fn contains(&self, token: TokenId) -> bool {
        self.0.shard(token).lock().contains_key(&token)
    }

    /// A token ends once: what is known of an earlier end stays.
    pub(super) fn add(&self, token: TokenId, revision: Revision) {
        let first = *self.0.shard(token).lock().entry(token).or_insert(revision);
        if first == revision {
            self.0.newest.fetch_max(revision.number(), Ordering::AcqRel);
            self.order().insert(revision, token);
        }
    }

    /// Those that ended after `revision`, in order, at most `limit`.
    pub(super) fn after(&self, revision: Revision, limit: usize) -> Vec<(Revision, TokenId)> {
        let order = self.order();
        order.range(revision.next()..).take(limit).map(|(revision, token)| (*revision, *token)).collect()
    }

    /// Drops those that ended at or before `floor`.
    pub(super) fn forget(&self, floor: Revision) {
        self.0.forgotten.fetch_max(floor.number(), Ordering::AcqRel);
        let spent = {
            let mut order = self.order();
            let kept = order.split_off(&floor.next());
            std::mem::replace(&mut *order, kept)
        };
        for token in spent.into_values() {
            self.0.shard(token).lock().remove(&token);
        }
    }

    pub(super) fn newest(&self) -> Revision {
        Revision::new(self.0.newest.load(Ordering::Acquire))
    }

    pub(super) fn len(&self) -> usize {
        self.order().len()
    }

    fn order(&self) -> MutexGuard<'_, BTreeMap<Revision, TokenId>> {
        self.0.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
