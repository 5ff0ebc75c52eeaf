//! Stops for a while: when each ends.
//!
//! That a stop is for a while is an event of its own, written before the stop. A stop whose end is not in the log goes on
//! until somebody lifts it. A broker lifts a stop at its end by an event like any other lift. Until then it goes on, so no
//! clock decides what is dead.
//!
//! Two clocks must both have come to its end: the wall clock, and one that nobody can set and that goes on while the
//! machine sleeps. The second counts from when this process learnt of the stop. Of a stop that was in the log when this
//! process began, what had passed before counts as far as the wall clock says so and as the log and this process witness
//! it: from the stop to the last event before the start, and since the start. So neither a clock that is set nor a restart
//! ends a stop early. A clock that is ahead when events are written, and still when the broker starts again, can: by as much
//! as it is ahead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::KillSwitch;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::{OperatorName, StopId};
use crate::domain::revocation::{Stop, Target};
use crate::domain::time::{Seconds, Timestamp};
use crate::revocation::since_machine_start;
use crate::store::StoreError;

/// Events that are read at once.
const PAGE: u32 = 500;

#[derive(Debug)]
pub(super) struct Schedule {
    /// When this process began.
    began: Duration,
    plans: Mutex<Plans>,
    /// The turn to read the log.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Plans {
    /// The last event before this process, and its time.
    before: Option<(u64, Timestamp)>,
    /// Events up to this one were read.
    read: u64,
    by_stop: HashMap<StopId, Plan>,
}

/// What is planned for one stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Plan {
    pub(in crate::broker) target: Target,
    pub(in crate::broker) operator: Option<OperatorName>,
    /// None: somebody stopped the target again without an end.
    ends: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    at: Timestamp,
    /// By the clock that nobody can set.
    not_before: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { began: since_machine_start(), plans: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }
}

impl Schedule {
    fn lock(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, id: StopId) -> Option<Plan> {
        self.lock().by_stop.get(&id).cloned()
    }

    /// How much of the time since the event `seq` counts. Of one that came while this process ran, nobody else's clock says
    /// anything.
    fn passed(&self, seq: u64, event: &Event, (now, machine): (Timestamp, Duration)) -> Duration {
        match self.lock().before {
            Some((last, before)) if seq <= last => {
                let witnessed = before.since(event.at) + machine.saturating_sub(self.began);
                now.since(event.at).min(witnessed)
            }
            _ => Duration::ZERO,
        }
    }

    /// Takes in an event, of which the later ones hold; `passed` of its time has passed already.
    fn note(&self, event: &Event, passed: Duration, machine: Duration) {
        let (Some(id), Some(target)) = (event.stop, event.target.clone()) else { return };
        let mut plans = self.lock();
        let ends = event.ttl.map(|lasts| {
            let lasts = Duration::from(lasts);
            End { at: event.at + lasts, not_before: machine + lasts.saturating_sub(passed) }
        });
        plans.by_stop.insert(id, Plan { target, operator: event.operator.clone(), ends });
    }

    fn due(&self, now: Timestamp, machine: Duration) -> Vec<(StopId, Plan)> {
        let plans = self.lock();
        let is_due = |plan: &Plan| plan.ends.is_some_and(|end| end.at <= now && end.not_before <= machine);
        plans.by_stop.iter().filter(|(_, plan)| is_due(plan)).map(|(id, plan)| (*id, plan.clone())).collect()
    }
}

impl KillSwitch {
    /// Notes up to when the log tells of the time before this process.
    pub(in crate::broker) async fn note_time_before(&self) {
        if let Ok(last) = self.store.events(&EventFilter::default(), 1, None).await {
            let before = last.first().and_then(|last| Some((last.seq, last.event()?.at)));
            self.schedule.lock().before = before;
        }
    }

    /// When the stop ends by itself, by the wall clock.
    pub(in crate::broker) fn ends(&self, id: StopId) -> Option<Timestamp> {
        Some(self.schedule.plan(id)?.ends?.at)
    }

    /// Writes down when `stop` ends, before the stop itself; and of an earlier stop of its target, that it lasts at least as
    /// long as this one.
    pub(super) async fn plan(&self, stop: &Stop, event: &Event) -> Result<(), StoreError> {
        match self.in_force(&stop.target).filter(|first| *first != stop.id) {
            Some(first) => self.prolong(first, event).await,
            None if event.ttl.is_some() => self.write_plan(stop.id, event).await,
            None => Ok(()),
        }
    }

    /// The stop `id` lasts at least as long as `event`, a later stop of its target, says.
    pub(super) async fn prolong(&self, id: StopId, event: &Event) -> Result<(), StoreError> {
        let Some(End { at, .. }) = self.schedule.plan(id).and_then(|plan| plan.ends) else { return Ok(()) };
        match event.ttl {
            Some(lasts) if event.at + Duration::from(lasts) <= at => Ok(()),
            _ => self.write_plan(id, event).await,
        }
    }

    async fn write_plan(&self, id: StopId, stopped: &Event) -> Result<(), StoreError> {
        let event = Event {
            kind: Kind::RevocationScheduled,
            stop: Some(id),
            revision: None,
            in_force: None,
            floor: None,
            again: None,
            as_of: None,
            ..stopped.clone()
        };
        self.store.append(event.clone()).await?;
        self.schedule.note(&event, Duration::ZERO, since_machine_start());
        Ok(())
    }

    /// Reads what was planned since the last time, here or by another node, and says how many events are known then.
    pub(in crate::broker) async fn read_plans(&self) -> Result<u64, StoreError> {
        let _turn = self.schedule.reading.lock().await;
        let (head, read) = (self.store.seen_head().size, self.schedule.lock().read);
        if head == read {
            return Ok(head);
        }
        let filter = EventFilter { kind: Some(Kind::RevocationScheduled), ..EventFilter::default() };
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.events(&filter, PAGE, before).await?;
            let is_last = page.len() < PAGE as usize;
            before = page.last().map(|event| event.seq);
            found.extend(page.into_iter().take_while(|event| event.seq > read));
            if is_last || before.is_none_or(|seq| seq <= read) {
                break;
            }
        }
        let (now, machine) = (self.clock.now(), since_machine_start());
        let events = found.iter().rev().filter_map(|recorded| Some((recorded.seq, recorded.event()?)));
        for (seq, event) in events {
            let known = event.stop.and_then(|id| self.schedule.plan(id)).and_then(|plan| plan.ends);
            // What this node wrote itself it has noted already, and counts from then on.
            let is_noted = known
                .is_some_and(|end| event.ttl.is_some_and(|lasts| end.at == event.at + Duration::from(lasts)));
            if !is_noted {
                let passed = self.schedule.passed(seq, &event, (now, machine));
                self.schedule.note(&event, passed, machine);
            }
        }
        self.schedule.lock().read = head;
        Ok(head)
    }

    /// The stops whose end has come.
    pub(in crate::broker) fn due(&self) -> Vec<(StopId, Plan)> {
        self.schedule.due(self.clock.now(), since_machine_start())
    }

    /// A stop is lifted, or was never made: nothing is planned for it any more.
    pub(in crate::broker) fn forget_plan(&self, id: StopId) {
        self.schedule.lock().by_stop.remove(&id);
    }
}

/// How long a stop for a while lasts, in its event.
pub(in crate::broker) fn lasting(time: Option<Duration>) -> Option<Seconds> {
    time.map(Seconds::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Outcome;

    const HOUR: Duration = Duration::from_secs(3600);

    fn wall(hours: f64) -> Timestamp {
        Timestamp::from_millis((hours * 3_600_000.0) as i64)
    }

    fn stop_id() -> StopId {
        StopId::new(wall(100.0), &[1; 10])
    }

    /// Stopped by the event 5 at 100 h for 2 h, in a process that began when the machine was 10 h old.
    fn planned(before: Option<(u64, f64)>, learnt: (f64, f64)) -> Schedule {
        let schedule = Schedule { began: 10 * HOUR, ..Schedule::default() };
        schedule.lock().before = before.map(|(seq, hours)| (seq, wall(hours)));
        let event = Event {
            stop: Some(stop_id()),
            target: Some(Target::Everything),
            ttl: lasting(Some(2 * HOUR)),
            ..Event::new(wall(100.0), Kind::RevocationScheduled, Outcome::Done)
        };
        let (now, machine) = (wall(learnt.0), HOUR.mul_f64(learnt.1));
        schedule.note(&event, schedule.passed(5, &event, (now, machine)), machine);
        schedule
    }

    fn is_due(schedule: &Schedule, (now, machine): (f64, f64)) -> bool {
        !schedule.due(wall(now), HOUR.mul_f64(machine)).is_empty()
    }

    #[test]
    fn a_stop_ends_when_both_clocks_have_come_to_its_end() {
        let schedule = planned(Some((4, 99.0)), (100.0, 11.0));
        assert!(!is_due(&schedule, (101.9, 12.9)));
        assert!(is_due(&schedule, (102.0, 13.0)));
        assert!(!is_due(&schedule, (200.0, 12.9)), "a wall clock that is set forward ends nothing");
        assert!(!is_due(&schedule, (101.0, 50.0)), "nor does one that is set back let it end early");
    }

    /// Another broker stopped it while this one, whose clock is a day ahead, had run for ten hours.
    #[test]
    fn a_clock_that_is_ahead_ends_no_stop_of_another_broker() {
        let schedule = planned(Some((4, 99.0)), (124.0, 20.0));
        assert!(!is_due(&schedule, (124.0, 20.0)));
        assert!(!is_due(&schedule, (200.0, 21.9)));
        assert!(is_due(&schedule, (126.0, 22.0)));
    }

    #[test]
    fn a_restart_counts_what_the_log_witnesses_and_no_more() {
        // An earlier process wrote until an hour after the stop; this one began at once and learnt half an hour later.
        let schedule = planned(Some((7, 101.0)), (101.5, 10.5));
        assert!(!is_due(&schedule, (103.0, 10.9)));
        assert!(is_due(&schedule, (103.0, 11.0)));
        // A clock that is a day ahead at the start: only what was witnessed counts.
        let schedule = planned(Some((7, 101.0)), (125.0, 10.0));
        assert!(!is_due(&schedule, (126.0, 10.9)));
        assert!(is_due(&schedule, (126.0, 11.0)));
        // A log whose events are of the future: the wall clock must agree.
        let schedule = planned(Some((7, 150.0)), (100.5, 10.0));
        assert!(!is_due(&schedule, (102.0, 11.4)));
        // Nobody knows what was before.
        let schedule = planned(None, (110.0, 10.0));
        assert!(!is_due(&schedule, (111.9, 11.9)));
        assert!(is_due(&schedule, (112.0, 12.0)));
    }
}
