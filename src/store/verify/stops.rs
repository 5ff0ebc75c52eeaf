//! The kill switch, replayed from the events, against the tables: a stop that was deleted, moved or lifted without an
//! event is an agent set free.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Difference, Differences, Kept, VerifyError};
use crate::domain::event::{Event, Kind};
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Revision, Stop, Target};
use crate::store::error::StoreError;
use crate::store::in_force::InForce;

/// What the events have done to the kill switch so far.
#[derive(Debug, Default)]
pub(super) struct Replay {
    last: Revision,
    /// The number of the last restoration: every token that was decided before it is dead.
    restored: Revision,
    /// The floor that the last change told; an earlier hallpass told none.
    floor: Option<Revision>,
    /// How many changes the table has of those that the events tell of: a lost history leaves a gap in the numbers.
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
    /// Replays the event `seq`, and notes where the table of changes has another than it made.
    ///
    /// # Errors
    /// Where the event contradicts those before it.
    pub(super) fn note(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        event: &Event,
        differences: &mut Differences,
    ) -> Result<(), VerifyError> {
        let wrong = |problem: &str| Difference::event(seq, problem);
        // Before changes were numbered, an event told neither its number nor its stop.
        let unnumbered = event.revision.is_none() && event.stop.is_none();
        let before = self.last;
        let ended = match (event.kind, &event.target) {
            (Kind::StoreRestored, _) => {
                let number = event.revision.filter(|number| *number > self.last);
                self.last = number.ok_or_else(|| wrong("it has no number above the last change's"))?;
                self.restored = self.last;
                None
            }
            (Kind::RevocationStopped, Some(target)) => self.stop(kept, seq, event, target, unnumbered)?,
            (Kind::RevocationLifted, Some(target)) => {
                self.lift(seq, event, target, unnumbered)?;
                None
            }
            (Kind::RevocationStopped | Kind::RevocationLifted, None) => {
                return Err(wrong("it names no target").into());
            }
            _ => None,
        };
        if self.last == before {
            return match event.as_of {
                Some(known) if known > self.last => {
                    Err(wrong("it knows of a change of the kill switch that is missing").into())
                }
                _ => Ok(()),
            };
        }
        self.floor = event.floor;
        self.record(kept, seq, ended, differences)?;
        self.check_hash(seq, event)
    }

    /// Gives the token that ended by the event, if one did.
    fn stop<'a>(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        event: &Event,
        target: &'a Target,
        unnumbered: bool,
    ) -> Result<Option<&'a TokenId>, Difference> {
        let active = self.in_force.get(target).copied();
        if event.revision.is_none() {
            let said = event.stop.and_then(|id| self.by_id.get(&id).copied());
            match active {
                // A stop of what was stopped already has an event and is no change.
                Some(active) if unnumbered || said == Some(active) => return Ok(None),
                None if unnumbered => {}
                _ => return Err(Difference::event(seq, "it is said to be of a stop that is not in force")),
            }
        }
        let by_holder = if unnumbered { event.operator.is_none() } else { event.stop.is_none() };
        let ended = match target {
            Target::Token(token) if by_holder => Some(token),
            _ => None,
        };
        self.count(seq, event)?;
        if ended.is_some() && !unnumbered {
            return Ok(ended);
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
                let stop = Replayed { began, id, revision, lift: None, is_end: ended.is_some() };
                stop.toggle(&mut self.hash);
                self.stops.insert(seq, stop);
            }
            _ => return Err(Difference::event(seq, "it begins a stop where there is one")),
        }
        Ok(ended)
    }

    fn lift(&mut self, seq: u64, event: &Event, target: &Target, unnumbered: bool) -> Result<(), Difference> {
        let said = event.stop.and_then(|id| self.by_id.get(&id).copied());
        let lifted = self.in_force.remove(target).filter(|active| unnumbered || said == Some(*active));
        let Some(stop) = lifted.and_then(|active| self.stops.get_mut(&active)) else {
            return Err(Difference::event(seq, "it lifts a stop that is not in force"));
        };
        stop.toggle(&mut self.hash);
        stop.lift = Some((seq, event.clone()));
        if stop.is_end { Ok(()) } else { self.count(seq, event) }
    }

    /// Compares what the change says of the stops in force with what its predecessors left.
    fn check_hash(&self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        match event.in_force {
            Some(said) if said != self.hash.digest() => {
                Err(Difference::event(seq, "it says of the stops in force what was not so").into())
            }
            _ => Ok(()),
        }
    }

    /// Gives the change its number, which is the next.
    fn count(&mut self, seq: u64, event: &Event) -> Result<(), Difference> {
        let next = self.last.next();
        if event.revision.is_some_and(|said| said != next) {
            return Err(Difference::event(seq, "it is not the next change of the kill switch"));
        }
        self.last = next;
        Ok(())
    }

    fn record(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        ended: Option<&TokenId>,
        differences: &mut Differences,
    ) -> Result<(), StoreError> {
        let change = kept.change(self.last)?;
        self.changes += u64::from(change.is_some());
        if change != Some((seq, ended.map(TokenId::to_string))) {
            let problem = "the change that it is was changed, or is missing";
            differences.push(Difference::event(seq, problem));
        }
        Ok(())
    }

    /// Notes where the stops as they stand are not what the events up to `end` made of them; where the log is `whole`,
    /// everything.
    pub(super) fn check(
        &self,
        kept: &impl Kept,
        end: u64,
        whole: bool,
        differences: &mut Differences,
    ) -> Result<(), StoreError> {
        let mut missing: BTreeSet<u64> =
            self.stops.iter().filter(|(_, stop)| !stop.is_end).map(|(seq, _)| *seq).collect();
        for (seq, lift) in kept.stops()? {
            if !whole && seq > end {
                continue;
            }
            let found = match self.stops.get(&seq).filter(|_| missing.remove(&seq)) {
                None => Err(Difference::event(seq, "a stop or lift is said to be recorded here, and is not")),
                Some(told) => match kept.stop(seq) {
                    Ok(Some(stop)) => told.compare(seq, &stop, lift, whole),
                    _ => Err(Difference::event(seq, "the stop that it records cannot be read")),
                },
            };
            found.unwrap_or_else(|difference| differences.push(difference));
        }
        for seq in missing {
            differences.push(Difference::event(seq, "the stop that it records is missing from the stops"));
        }
        if whole { self.check_ends(kept, differences) } else { Ok(()) }
    }

    fn check_ends(&self, kept: &impl Kept, differences: &mut Differences) -> Result<(), StoreError> {
        // A head that cannot be read is told with the rest of it.
        if let Ok(head) = kept.head() {
            let (revision, last) = (head.revision, self.last);
            if revision != last {
                let said = format!("it counts {revision} changes of the kill switch, the log has {last}");
                differences.push(Difference::Head(said));
            }
            let (floor, told) = (head.floor, self.floor.unwrap_or(self.restored));
            // The start does not rely on one that no change told.
            let untold = self.floor.is_none() && floor > told && floor <= last;
            if floor != told && !untold {
                let said = format!("it has tokens dead below the change {floor}, and the log below {told}");
                differences.push(Difference::Head(said));
            }
        }
        let strangers = kept.changes()?.saturating_sub(self.changes);
        if strangers > 0 {
            let said = format!("{strangers} changes of the kill switch are entered, and not in the log");
            differences.push(Difference::Head(said));
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

    fn compare(&self, seq: u64, stop: &Stop, lift_seq: Option<u64>, whole: bool) -> Result<(), Difference> {
        let began = &self.began;
        let id_is_said = began.stop.is_none_or(|id| id == stop.id);
        let same = id_is_said
            && began.target.as_ref() == Some(&stop.target)
            && began.at == stop.at
            && began.reason.as_deref() == Some(&stop.reason)
            && began.operator == stop.operator
            && (stop.revision == Some(self.revision) || !whole);
        if !same {
            return Err(Difference::event(seq, "the stop that it records was changed"));
        }
        match (&self.lift, &stop.lift, lift_seq) {
            (None, None, None) => Ok(()),
            // Perhaps by an event that the walk did not reach.
            (None, ..) if !whole => Ok(()),
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
