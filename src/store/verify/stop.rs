//! One stop as its events tell it, against what is kept of it.

use super::Difference;
use crate::domain::event::Event;
use crate::domain::id::StopId;
use crate::domain::revocation::{Revision, Stop};
use crate::store::in_force::InForce;

/// A stop as its events tell it.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) began: Event,
    /// An earlier hallpass's event does not say it, and then the table does.
    pub(super) id: Option<StopId>,
    pub(super) revision: Revision,
    pub(super) lift: Option<(u64, Event)>,
    /// An earlier hallpass entered a token's end as a stop.
    pub(super) is_end: bool,
}

/// Which parts of what is kept of a stop are by an event that could not be read, or that the walk did not reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread {
    pub(super) number: bool,
    pub(super) lift: bool,
}

impl Replayed {
    pub(super) fn toggle(&self, hash: &mut InForce) {
        if let (Some(id), Some(target), false) = (self.id, &self.began.target, self.is_end) {
            hash.toggle(id, target, self.revision);
        }
    }

    /// Compares the stop, which began with the event `seq`, with what is kept of it and of its lift's event. `unread` tells
    /// of another number or a lift whether an event had it that could not be read.
    pub(super) fn compare(
        &self,
        seq: u64,
        (stop, lift_seq): (&Stop, Option<u64>),
        unread: Unread,
    ) -> Result<(), Difference> {
        let began = &self.began;
        let id_is_said = began.stop.is_none_or(|id| id == stop.id);
        let same = id_is_said
            && began.target.as_ref() == Some(&stop.target)
            && began.at == stop.at
            && began.reason.as_deref() == Some(&stop.reason)
            && began.operator == stop.operator
            && (stop.revision == Some(self.revision) || unread.number);
        if !same {
            return Err(Difference::event(seq, "the stop that it records was changed"));
        }
        match (&self.lift, &stop.lift, lift_seq) {
            (None, None, None) => Ok(()),
            (None, ..) if unread.lift => Ok(()),
            (None, ..) => Err(Difference::event(seq, "the stop that it records was lifted without an event")),
            (Some((seq, told)), found, at) => {
                let Some(found) = found.as_ref().filter(|_| at == Some(*seq)) else {
                    return Err(Difference::event(
                        *seq,
                        "the lift that it records is missing from the stops",
                    ));
                };
                let same = told.at == found.at
                    && told.reason.as_deref() == Some(&found.reason)
                    && told.operator.as_ref() == Some(&found.operator)
                    && told.revision.is_none_or(|number| number == found.revision);
                if same {
                    Ok(())
                } else {
                    Err(Difference::event(*seq, "the lift that it records was changed"))
                }
            }
        }
    }
}
