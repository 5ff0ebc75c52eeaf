//! The audit log as auditors read it: events, signed checkpoints, and proofs.

use std::sync::Arc;

use crate::domain::checkpoint::{Checkpoint, VerifierKey};
use crate::domain::digest::Digest;
use crate::domain::event::EventFilter;
use crate::domain::merkle::leaf_hash;
use crate::store::{Recorded, Store, StoreError};
use crate::token::KeyRing;

/// Reads the log and vouches for it; nothing is written here.
pub struct AuditLog {
    store: Store,
    keys: Arc<KeyRing>,
    /// What its checkpoints are verified with; its name is the log's origin.
    verifier: VerifierKey,
}

/// RFC 6962 §2.1.1.
pub struct Inclusion {
    /// The hash of the event's bytes as a leaf.
    pub leaf: Digest,
    /// The audit path, lowest first.
    pub proof: Vec<Digest>,
}

impl AuditLog {
    pub(super) fn new(store: Store, keys: Arc<KeyRing>, verifier: VerifierKey) -> Self {
        Self { store, keys, verifier }
    }

    /// Newest first, at most `limit` events before the `seq` `before`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.store.events(filter, limit, before).await
    }

    /// A signed note of the log as it is now: it covers every event committed before the call.
    ///
    /// # Errors
    /// `Unavailable` where the end of the log cannot be known.
    pub async fn checkpoint(&self) -> Result<String, StoreError> {
        let head = self.store.head().await?;
        let origin = self.origin().to_owned();
        Ok(Checkpoint { origin, size: head.size, root: head.root }.sign(self.keys.checkpoint_key()))
    }

    /// The proof that the event `seq` is in the log of the first `size` events.
    ///
    /// # Errors
    /// `OutOfRange` unless 0 < `seq` ≤ `size` ≤ the log's size.
    pub async fn inclusion(&self, seq: u64, size: u64) -> Result<Inclusion, StoreError> {
        let proof = self.store.inclusion_proof(seq, size).await?;
        let event = self.events(&EventFilter::default(), 1, seq.checked_add(1)).await?.pop();
        let event = event.filter(|event| event.seq == seq);
        let event = event.ok_or_else(|| StoreError::Damaged(format!("it lacks the event {seq}")))?;
        Ok(Inclusion { leaf: leaf_hash(event.bytes.as_bytes()), proof })
    }

    /// The proof that the log of the first `second` events extends that of the first `first`.
    ///
    /// # Errors
    /// `OutOfRange` unless 0 < `first` ≤ `second` ≤ the log's size.
    pub async fn consistency(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        self.store.consistency_proof(first, second).await
    }

    /// How many events it has.
    pub fn size(&self) -> u64 {
        self.store.seen_head().size
    }

    /// The key that checkpoints are verified with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The name of the log.
    pub(super) fn origin(&self) -> &str {
        self.verifier.name()
    }
}
