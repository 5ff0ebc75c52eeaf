//! What a start reads of an event.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::digest::Digest;
use crate::domain::event::Kind;
use crate::domain::merkle::leaf_hash;
use crate::domain::revocation::{Revision, Target};
use crate::store::error::StoreError;

pub(super) fn differs(problem: String) -> StoreError {
    StoreError::Differs(problem)
}

/// As far as a start must know an event. Names and ids have no escapes in JSON.
#[derive(Deserialize)]
pub(super) struct Told<'a> {
    pub(super) seq: u64,
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) target: Option<&'a str>,
    #[serde(default)]
    pub(super) stop: Option<&'a str>,
    #[serde(default)]
    pub(super) revision: Option<Revision>,
    #[serde(default)]
    pub(super) as_of: Option<Revision>,
    #[serde(default)]
    operator: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) in_force: Option<&'a str>,
    #[serde(default)]
    pub(super) floor: Option<Revision>,
}

impl<'a> Told<'a> {
    /// What the event `seq` says, if its bytes are those that were hashed.
    pub(super) fn of(seq: u64, bytes: &'a str, leaf: Option<Digest>) -> Result<Self, StoreError> {
        if leaf != Some(leaf_hash(bytes.as_bytes())) {
            return Err(differs(format!("the event {seq} is not the one that was hashed")));
        }
        let told: Self = serde_json::from_str(bytes)
            .map_err(|error| differs(format!("the event {seq} cannot be read: {error}")))?;
        if told.seq == seq { Ok(told) } else { Err(differs(format!("the event {seq} is another"))) }
    }

    pub(super) fn target(&self) -> Option<Target> {
        self.target?.parse().ok()
    }

    /// Whether a token ended by it. An earlier hallpass numbered neither, and named no operator.
    pub(super) fn ends(&self) -> bool {
        let by_holder = self.stop.is_none() && (self.revision.is_some() || self.operator.is_none());
        self.kind == Kind::RevocationStopped
            && by_holder
            && self.target.is_some_and(|target| target.starts_with("token:"))
    }
}
