//! What the authority is refilled from: the durable store, as the broker shows it.

use std::sync::Arc;

use crate::domain::digest::Digest;
use crate::domain::id::StopId;
use crate::domain::revocation::{Book, Revision, Target};
use crate::revocation::RevocationError;

/// A stop that the store could not number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnumberedStop {
    pub id: StopId,
    pub target: Target,
}

/// The durable store, and the stops that wait for it.
pub trait Source: Send + Sync {
    /// Every committed change that can still tell something, as the store has it now.
    fn book(&self) -> impl Future<Output = Result<Arc<Book>, RevocationError>> + Send;

    /// Which change of the store's history had the number.
    fn mark(
        &self,
        revision: Revision,
    ) -> impl Future<Output = Result<Option<Digest>, RevocationError>> + Send;

    /// The stops of this node that have no number yet.
    fn unnumbered(&self) -> Vec<UnnumberedStop>;

    /// Whether the store has numbered this stop meanwhile, whichever node took it.
    fn is_numbered(
        &self,
        stop: &UnnumberedStop,
    ) -> impl Future<Output = Result<bool, RevocationError>> + Send;

    /// Which opening of the store this is. Nodes that share a store share it; a copy of the store has another.
    fn instance(&self) -> String {
        String::from("-")
    }

    /// Whether somebody found in the authority what the store does not have: the two must be compared as a whole.
    fn must_compare(&self) -> bool {
        false
    }

    /// Store and authority have been found to hold the same changes.
    fn is_level(&self) {}

    /// Nobody has numbered this stop for long: whoever took it is gone. Numbers it.
    fn claim(&self, _stop: &UnnumberedStop) -> impl Future<Output = Result<(), RevocationError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The authority holds another history than the store: takes it over, and pushes over it.
    fn take_over(&self) -> impl Future<Output = Result<(), RevocationError>> + Send;
}
