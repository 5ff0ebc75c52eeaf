//! The kill switch, replayed from the events, against the tables: a stop that was deleted, moved or lifted without an
//! event is an agent set free.

use std::collections::{BTreeMap, HashMap};

use super::{Kept, VerifyError};
use crate::domain::event::{Event, Kind};
use crate::domain::id::StopId;
use crate::domain::revocation::{Revision, Stop, Target};
use crate::store::in_force::InForce;

/// What the events have done to the kill switch so far.
#[derive(Debug, Default)]
pub(super) struct Replay {
    last: Revision,
    /// How many changes there were: a lost history leaves a gap in the numbers.
    changes: u64,
    /// What each change must say of the stops in force.
    hash: InForce,
    /// By the `seq` of the event that began each.
    stops: BTreeMap<u64, Replayed>,
    in_force: HashMap<Target, u64>,
    by_id: HashMap<StopId, u64>,
}

/// A stop as its events tell it.
#[derive(Debug)]
struct Replayed {
    began: Event,
    /// An earlier hallpass's event does not say it, and then the table does.
    id: Option<StopId>,
    revision: Revision,
    lift: Option<(u64, Event)>,
    /// An earlier hallpass entered a token's end as a stop.
    is_end: bool,
}

impl Replay {
    /// Replays the event `seq`, and compares the change that it made with the table of changes.
    pub(super) fn note(&mut self, kept: &impl Kept, seq: u64, event: &Event) -> Result<(), VerifyError> {
        let wrong = |problem: &str| VerifyError::event(seq, problem);
        // Before changes were numbered, an event told neither its number nor its stop.
        let unnumbered = event.revision.is_none() && event.stop.is_none();
        match (event.kind, &event.target) {
            (Kind::StoreRestored, _) => {
                let number = event.revision.filter(|number| *number > self.last);
                self.last = number.ok_or_else(|| wrong("it has no number above the last change's"))?;
                self.record(kept, seq, None)?;
                self.check_hash(seq, event)
            }
            (Kind::RevocationStopped, Some(target)) => self.stop(kept, seq, event, target, unnumbered),
            (Kind::RevocationLifted, Some(target)) => self.lift(kept, seq, event, target, unnumbered),
            (Kind::RevocationStopped | Kind::RevocationLifted, None) => Err(wrong("it names no target")),
            _ => Ok(()),
        }
    }

    fn stop(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        event: &Event,
        target: &Target,
        unnumbered: bool,
    ) -> Result<(), VerifyError> {
        let active = self.in_force.get(target).copied();
        if event.revision.is_none() {
            let said = event.stop.and_then(|id| self.by_id.get(&id).copied());
            match active {
                // A stop of what was stopped already has an event and is no change.
                Some(active) if unnumbered || said == Some(active) => return Ok(()),
                None if unnumbered => {}
                _ => return Err(VerifyError::event(seq, "it is said to be of a stop that is not in force")),
            }
        }
        let ends = match (target, unnumbered) {
            (Target::Token(_), true) => event.operator.is_none(),
            (Target::Token(_), false) => event.stop.is_none(),
            _ => false,
        };
        self.count(seq, event)?;
        self.record(kept, seq, Some(target).filter(|_| ends))?;
        if ends && !unnumbered {
            return self.check_hash(seq, event);
        }
        match (active, event.stop.and_then(|id| self.by_id.get(&id).copied())) {
            // Numbered anew.
            (Some(active), Some(said)) if active == said => {
                if let Some(stop) = self.stops.get_mut(&active) {
                    stop.toggle(&mut self.hash);
                    stop.revision = self.last;
                    stop.toggle(&mut self.hash);
                }
            }
            (None, None) => {
                self.in_force.insert(target.clone(), seq);
                let unsaid = || kept.stop(seq).ok().flatten().map(|stop| stop.id);
                let id = event.stop.or_else(unsaid);
                self.by_id.extend(id.map(|id| (id, seq)));
                let (began, revision) = (event.clone(), self.last);
                let stop = Replayed { began, id, revision, lift: None, is_end: ends };
                stop.toggle(&mut self.hash);
                self.stops.insert(seq, stop);
            }
            _ => return Err(VerifyError::event(seq, "it begins a stop where there is one")),
        }
        self.check_hash(seq, event)
    }

    fn lift(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        event: &Event,
        target: &Target,
        unnumbered: bool,
    ) -> Result<(), VerifyError> {
        let said = event.stop.and_then(|id| self.by_id.get(&id).copied());
        let lifted = self.in_force.remove(target).filter(|active| unnumbered || said == Some(*active));
        let Some(stop) = lifted.and_then(|active| self.stops.get_mut(&active)) else {
            return Err(VerifyError::event(seq, "it lifts a stop that is not in force"));
        };
        stop.toggle(&mut self.hash);
        stop.lift = Some((seq, event.clone()));
        if stop.is_end {
            return Ok(());
        }
        self.count(seq, event)?;
        self.record(kept, seq, None)?;
        self.check_hash(seq, event)
    }

    /// Compares what the change says of the stops in force with what its predecessors left.
    fn check_hash(&self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        match event.in_force {
            Some(said) if said != self.hash.digest() => {
                Err(VerifyError::event(seq, "it says of the stops in force what was not so"))
            }
            _ => Ok(()),
        }
    }

    /// Gives the change its number, which is the next.
    fn count(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        let next = self.last.next();
        if event.revision.is_some_and(|said| said != next) {
            return Err(VerifyError::event(seq, "it is not the next change of the kill switch"));
        }
        self.last = next;
        Ok(())
    }

    fn record(&mut self, kept: &impl Kept, seq: u64, ended: Option<&Target>) -> Result<(), VerifyError> {
        self.changes += 1;
        let token = match ended {
            Some(Target::Token(token)) => Some(token.to_string()),
            _ => None,
        };
        if kept.change(self.last)? != Some((seq, token)) {
            return Err(VerifyError::event(seq, "the change that it is was changed, or is missing"));
        }
        Ok(())
    }

    /// Compares the stops as they stand with what the events up to `end` made of them; where the log is `whole`,
    /// everything.
    pub(super) fn check(&self, kept: &impl Kept, end: u64, whole: bool) -> Result<(), VerifyError> {
        let mut met = 0;
        for (seq, lift) in kept.stops()? {
            if !whole && seq > end {
                continue;
            }
            let replayed = self.stops.get(&seq).filter(|stop| !stop.is_end);
            let told = replayed.ok_or_else(|| {
                VerifyError::event(seq, "a stop or lift is said to be recorded here, and is not")
            })?;
            let stop = kept.stop(seq).ok().flatten();
            let stop =
                stop.ok_or_else(|| VerifyError::event(seq, "the stop that it records cannot be read"))?;
            told.compare(seq, &stop, lift, whole)?;
            met += 1;
        }
        let expected = self.stops.values().filter(|stop| !stop.is_end).count();
        if met != expected {
            let missing = self.first_missing(kept)?;
            return Err(VerifyError::event(missing, "the stop that it records is missing from the stops"));
        }
        if whole { self.check_ends(kept) } else { Ok(()) }
    }

    fn first_missing(&self, kept: &impl Kept) -> Result<u64, VerifyError> {
        for (seq, stop) in &self.stops {
            if !stop.is_end && kept.stop(*seq)?.is_none() {
                return Ok(*seq);
            }
        }
        Ok(0)
    }

    fn check_ends(&self, kept: &impl Kept) -> Result<(), VerifyError> {
        // A head that cannot be read is told with the rest of it.
        let Ok(head) = kept.head() else { return Ok(()) };
        if head.revision != self.last || head.floor > head.revision {
            let said =
                format!("it counts {} changes of the kill switch, the log has {}", head.revision, self.last);
            return Err(VerifyError::Head(said));
        }
        let count = kept.changes()?;
        if count != self.changes {
            let said = format!(
                "{count} changes of the kill switch are entered, and {} are in the log",
                self.changes
            );
            return Err(VerifyError::Head(said));
        }
        Ok(())
    }
}

impl Replayed {
    fn toggle(&self, hash: &mut InForce) {
        if let (Some(id), Some(target), false) = (self.id, &self.began.target, self.is_end) {
            hash.toggle(id, target, self.revision);
        }
    }

    fn compare(&self, seq: u64, stop: &Stop, lift_seq: Option<u64>, whole: bool) -> Result<(), VerifyError> {
        let began = &self.began;
        let id_is_said = began.stop.is_none_or(|id| id == stop.id);
        let same = id_is_said
            && began.target.as_ref() == Some(&stop.target)
            && began.at == stop.at
            && began.reason.as_deref() == Some(&stop.reason)
            && began.operator == stop.operator
            && (stop.revision == Some(self.revision) || !whole);
        if !same {
            return Err(VerifyError::event(seq, "the stop that it records was changed"));
        }
        match (&self.lift, &stop.lift, lift_seq) {
            (None, None, None) => Ok(()),
            // Perhaps by an event that the walk did not reach.
            (None, ..) if !whole => Ok(()),
            (None, ..) => {
                Err(VerifyError::event(seq, "the stop that it records was lifted without an event"))
            }
            (Some((seq, told)), found, at) => {
                let Some(found) = found.as_ref().filter(|_| at == Some(*seq)) else {
                    return Err(VerifyError::event(
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
                    Err(VerifyError::event(*seq, "the lift that it records was changed"))
                }
            }
        }
    }
}
