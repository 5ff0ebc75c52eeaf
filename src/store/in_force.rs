//! All stops in force as one hash, which every change of the kill switch says in its event: whoever starts from the
//! tables can tell whether they lost one.

use crate::domain::digest::Digest;
use crate::domain::id::StopId;
use crate::domain::revocation::{Revision, Target};

/// The exclusive or of a hash of each. Adding and taking away are the same, and the order does not matter.
///
/// It finds tables that were changed or damaged. It is no seal: whoever can rewrite the log can compute it, and only a
/// checkpoint that was kept elsewhere shows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InForce(Digest);

impl Default for InForce {
    fn default() -> Self {
        Self(Digest([0; 32]))
    }
}

impl InForce {
    /// Adds the stop that began, or was numbered anew, with the change `number`; takes it away where it is in there.
    pub(super) fn toggle(&mut self, id: StopId, target: &Target, number: Revision) {
        let text = format!("stop in force\n{id}\n{target}\n{number}\n");
        let one = Digest::of(text.as_bytes());
        self.0.0.iter_mut().zip(one.0).for_each(|(all, one)| *all ^= one);
    }

    /// What a change said of them.
    pub(super) fn said(digest: Digest) -> Self {
        Self(digest)
    }

    pub(super) fn digest(self) -> Digest {
        self.0
    }
}
