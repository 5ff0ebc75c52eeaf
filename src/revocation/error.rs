//! What can be wrong with the live kill switch.

use std::fmt;
use std::time::Duration;

use crate::domain::id::BrokerName;
use crate::domain::revocation::Revision;

/// The local view is too old to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the view of revocations is {} ms old", age.as_millis())]
pub struct Stale {
    /// [`Duration::MAX`] where there never was a view.
    pub age: Duration,
}

/// For readiness: whether the authority itself can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Usable,
    /// It answers, but waits for [`Revocation::push`](super::Revocation::push); a call that gets `Amnesia` does it.
    Unfilled,
    /// It cannot be asked, and why: words without an address, which read on after «Redis cannot be used: ».
    Unusable(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Unfilled => f.write_str("not refilled from the store yet"),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The authority did not answer in time, or refuses reads or writes.
    #[error("the revocation store cannot be used: {0}")]
    Unreachable(String),
    /// The authority may have forgotten: push to it, then ask again.
    #[error("the revocation store may have forgotten stops and must be refilled")]
    Amnesia,
    /// The authority holds changes that are not in the history of the store.
    #[error(
        "the revocation store knows changes up to {theirs}, and they are not those of this store, which has {ours}: \
             the store was restored from an older copy"
    )]
    Ahead { theirs: Revision, ours: Revision },
    /// A copy of the store is in use beside it.
    #[error("{} uses a copy of this store on the same Redis: stop one of the two, for each would undo what the other \
             stops", names(.0))]
    Copies(Vec<BrokerName>),
    /// The authority belongs to another store.
    #[error(
        "this Redis serves the store {theirs} and not {ours}. If the database was replaced by mistake, put the old one \
         back. If the old one or its keys are lost, start once with --new-store or --new-signing-keys. If this is a second \
         broker, give it a Redis or a database number of its own: redis://HOST:6379/1"
    )]
    OtherStore { theirs: String, ours: String },
    /// The authority holds something that is none of ours.
    #[error("the revocation store holds what hallpass did not write: {0}")]
    Broken(String),
    #[error("{0}")]
    Settings(String),
    /// The store, which the authority is refilled from, cannot be read.
    #[error("the store cannot be read: {0}")]
    Source(String),
    /// One agent has used up as many proofs as are remembered for one.
    #[error("as many unexpired proofs as may be are remembered for this agent")]
    Full,
}

fn names(nodes: &[BrokerName]) -> String {
    nodes.iter().map(BrokerName::as_str).collect::<Vec<_>>().join(", ")
}
