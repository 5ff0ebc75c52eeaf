//! The kill switch, replayed from the events, against the tables: a stop that was deleted, moved or lifted without an
//! event is an agent set free.
//!
//! What an event did that could not be read is not known. What follows it is judged by what it says itself: a later change
//! may then have a number further on, lift a stop that was not seen, or count stops in force that were not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::stop::{Replayed, Unread};
use super::{Difference, Differences, Kept, VerifyError};
use crate::domain::event::{Event, Kind};
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Revision, Target};
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
    /// The events that could not be read, in order.
    unread: Vec<u64>,
    /// How many of them may be changes that were not counted.
    uncounted: u64,
    /// Whether the stops in force may be others, until a change counts them.
    unsure: bool,
}

impl Replay {
    /// Replays the event `seq`, and notes where it contradicts those before it, or the table of changes has another than it
    /// made.
    pub(super) fn note(
        &mut self,
        kept: &impl Kept,
        seq: u64,
        event: &Event,
        differences: &mut Differences,
    ) -> Result<(), StoreError> {
        let replayed = self.replay(kept, seq, event, differences);
        if matches!(replayed, Err(VerifyError::Differs(_))) {
            self.skip(kept, seq)?;
        }
        differences.take(replayed)
    }

    /// Notes that what the event `seq` did is not known. Whether it was a change is told by the table.
    pub(super) fn skip(&mut self, kept: &impl Kept, seq: u64) -> Result<(), StoreError> {
        self.unread.push(seq);
        let next = self.last.next();
        if kept.change(next)?.is_some_and(|(at, _)| at == seq) {
            self.last = next;
            self.changes += 1;
            (self.floor, self.unsure) = (None, true);
        } else {
            self.uncounted += 1;
        }
        Ok(())
    }

    fn is_unread(&self, seq: u64) -> bool {
        self.unread.binary_search(&seq).is_ok()
    }

    /// # Errors
    /// Where the event contradicts those before it.
    fn replay(
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
                self.lift(kept, seq, event, target, unnumbered)?;
                None
            }
            (Kind::RevocationStopped | Kind::RevocationLifted, None) => {
                return Err(wrong("it names no target").into());
            }
            _ => None,
        };
        if self.last == before {
            if !self.reach(kept, event.as_of.unwrap_or_default())? {
                return Err(wrong("it knows of a change of the kill switch that is missing").into());
            }
            return Ok(());
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
    ) -> Result<Option<&'a TokenId>, VerifyError> {
        let active = self.in_force.get(target).copied();
        if event.revision.is_none() {
            let said = event.stop.and_then(|id| self.by_id.get(&id).copied());
            match active {
                // A stop of what was stopped already has an event and is no change.
                Some(active) if unnumbered || said == Some(active) => return Ok(None),
                None if unnumbered => {}
                _ if !self.unread.is_empty() => return Ok(None),
                _ => {
                    return Err(
                        Difference::event(seq, "it is said to be of a stop that is not in force").into()
                    );
                }
            }
        }
        let by_holder = if unnumbered { event.operator.is_none() } else { event.stop.is_none() };
        let ended = match target {
            Target::Token(token) if by_holder => Some(token),
            _ => None,
        };
        self.count(kept, seq, event)?;
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
            // A stop that was not seen is numbered anew: what begins has a reason.
            (_, None) if !self.unread.is_empty() && event.reason.is_none() => self.unsure = true,
            // The one in force is perhaps lifted by an event that could not be read.
            (None, None) | (Some(_), None) if active.is_none() || !self.unread.is_empty() => {
                self.unsure |= active.is_some();
                self.in_force.insert(target.clone(), seq);
                let unsaid = || kept.stop(seq).ok().flatten().map(|stop| stop.id);
                let id = event.stop.or_else(unsaid);
                self.by_id.extend(id.map(|id| (id, seq)));
                let (began, revision) = (event.clone(), self.last);
                let stop = Replayed { began, id, revision, lift: None, is_end: ended.is_some() };
                stop.toggle(&mut self.hash);
                self.stops.insert(seq, stop);
            }
            _ => return Err(Difference::event(seq, "it begins a stop where there is one").into()),
        }
        Ok(ended)
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
            if !self.unread.is_empty() && said.is_none() {
                self.unsure = true;
                return self.count(kept, seq, event);
            }
            return Err(Difference::event(seq, "it lifts a stop that is not in force").into());
        };
        stop.toggle(&mut self.hash);
        stop.lift = Some((seq, event.clone()));
        if stop.is_end { Ok(()) } else { self.count(kept, seq, event) }
    }

    /// Compares what the change says of the stops in force with what its predecessors left.
    fn check_hash(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        let Some(said) = event.in_force else { return Ok(()) };
        let (is_so, unsure) = (said == self.hash.digest(), std::mem::take(&mut self.unsure));
        self.hash = InForce::said(said);
        if is_so || unsure {
            return Ok(());
        }
        Err(Difference::event(seq, "it says of the stops in force what was not so").into())
    }

    /// Whether the changes up to `number` can be in events that could not be read; they are then counted.
    fn reach(&mut self, kept: &impl Kept, number: Revision) -> Result<bool, StoreError> {
        let missing = number.number().saturating_sub(self.last.number());
        if missing == 0 || missing > self.uncounted {
            return Ok(missing == 0);
        }
        for number in self.last.next().number()..=number.number() {
            self.changes += u64::from(kept.change(Revision::new(number))?.is_some());
        }
        self.uncounted -= missing;
        (self.last, self.floor, self.unsure) = (number, None, true);
        Ok(true)
    }

    /// Gives the change its number, which is the next.
    fn count(&mut self, kept: &impl Kept, seq: u64, event: &Event) -> Result<(), VerifyError> {
        let next = self.last.next();
        let said = event.revision.unwrap_or(next);
        if said < next || !self.reach(kept, Revision::new(said.number() - 1))? {
            return Err(Difference::event(seq, "it is not the next change of the kill switch").into());
        }
        self.last = said;
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
            if self.is_unread(seq) || (!whole && seq > end) {
                continue;
            }
            let found = match self.stops.get(&seq).filter(|_| missing.remove(&seq)) {
                None => Err(Difference::event(seq, "a stop or lift is said to be recorded here, and is not")),
                Some(told) => match kept.stop(seq) {
                    Ok(Some(stop)) => {
                        let renumbered = stop.revision.filter(|number| *number != told.revision);
                        let renumbered = renumbered.map(|number| kept.change(number)).transpose()?.flatten();
                        let unread = Unread {
                            number: !whole || renumbered.is_some_and(|(by, _)| self.is_unread(by)),
                            lift: !whole || lift.is_some_and(|by| self.is_unread(by)),
                        };
                        told.compare(seq, (&stop, lift), unread)
                    }
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
            let uncounted = revision.number().saturating_sub(last.number());
            if revision < last || uncounted > self.uncounted {
                let said = format!("it counts {revision} changes of the kill switch, the log has {last}");
                differences.push(Difference::Head(said));
            }
            let said = self.floor.filter(|_| uncounted == 0);
            let (floor, told) = (head.floor, said.unwrap_or(self.restored));
            // The start does not rely on one that no change told.
            let untold = said.is_none() && floor > told && floor <= revision;
            if floor != told && !untold {
                let said = format!("it has tokens dead below the change {floor}, and the log below {told}");
                differences.push(Difference::Head(said));
            }
        }
        let strangers = kept.changes()?.saturating_sub(self.changes);
        if strangers > self.uncounted {
            let said = format!("{strangers} changes of the kill switch are entered, and not in the log");
            differences.push(Difference::Head(said));
        }
        Ok(())
    }
}
