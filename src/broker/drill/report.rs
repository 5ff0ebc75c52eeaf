//! What a drill found.

use std::time::Duration;

use super::Watched;
use crate::domain::event::{Event, Kind};
use crate::domain::id::{BrokerName, OperatorName};
use crate::domain::time::Timestamp;

/// So many names stand in the event; an event has a bounded size.
const NAMES: usize = 64;

/// One drill: who confirmed, and how long each took, by the monotonic clock of the broker that ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    pub at: Timestamp,
    pub broker: BrokerName,
    pub operator: OperatorName,
    /// The slowest first.
    pub points: Vec<DrillPoint>,
    /// From the beginning of the stop until this broker refused the token.
    pub refused: Option<Duration>,
    /// How long the lift took, until everybody who answered had seen it.
    pub lifted: Option<Duration>,
    /// How long the stop took to return.
    returned: Duration,
    /// What went wrong, in words. Nothing: the drill passed.
    pub faults: Vec<String>,
}

/// Who was asked to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillPoint {
    pub name: String,
    /// Since the stop began; none of one that did not confirm.
    pub confirmed: Option<Duration>,
}

impl DrillPoint {
    /// An enforcement point outside, and no broker.
    pub fn is_outside(&self) -> bool {
        self.name.contains('/')
    }
}

/// A drill as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledDrill {
    pub at: Timestamp,
    pub passed: bool,
    pub operator: Option<OperatorName>,
    pub detail: String,
}

impl From<Event> for JournaledDrill {
    fn from(event: Event) -> Self {
        let passed = event.kind == Kind::DrillPassed;
        let detail = event.detail.unwrap_or_default();
        Self { at: event.at, passed, operator: event.operator, detail }
    }
}

impl Drill {
    pub(super) fn new(at: Timestamp, broker: BrokerName, operator: OperatorName) -> Self {
        let (points, faults) = (Vec::new(), Vec::new());
        Self { at, broker, operator, points, refused: None, lifted: None, returned: Duration::ZERO, faults }
    }

    pub fn has_passed(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn fail(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Who confirmed, each after `took`, and who did not before the stop `returned`.
    pub(super) fn confirmed(
        &mut self,
        confirmed: Vec<String>,
        pending: Vec<String>,
        returned: Duration,
        took: impl Fn(&str) -> Duration,
    ) {
        self.returned = returned;
        for name in &pending {
            self.fail(format!("{name} did not confirm within {}", millis(returned)));
        }
        let late = pending.into_iter().map(|name| DrillPoint { name, confirmed: None });
        let mut in_time: Vec<DrillPoint> =
            confirmed.into_iter().map(|name| DrillPoint { confirmed: Some(took(&name)), name }).collect();
        in_time.sort_by_key(|point| std::cmp::Reverse(point.confirmed));
        self.points = late.chain(in_time).collect();
    }

    /// When this broker refused the token, and whether it took it after the stop had `returned`.
    pub(super) fn refused(&mut self, watched: Watched, returned: Duration) {
        self.refused = watched.refused;
        let took_late = watched.accepted.is_some_and(|asked| asked > returned);
        match watched.refused {
            Some(at) if took_late => {
                let late = millis(at.saturating_sub(returned));
                self.fail(format!("{} refused the token {late} after the stop was in effect", self.broker));
            }
            Some(_) => {}
            None if took_late => self.fail(format!("{} went on taking the stopped token", self.broker)),
            None => self.fail(format!("{} could not tell that the token was stopped", self.broker)),
        }
    }

    /// Who has not seen the lift, unless it did not see the stop either.
    pub(super) fn not_lifted_at(&mut self, pending: &[String]) {
        let is_named = |name: &&String| {
            self.points.iter().any(|point| point.name == **name && point.confirmed.is_none())
        };
        let news: Vec<String> = pending.iter().filter(|name| !is_named(name)).cloned().collect();
        for name in news {
            self.fail(format!("{name} has not seen that the stop was lifted"));
        }
    }

    /// How long the slowest took to confirm; how long all waited for one that did not.
    pub fn slowest(&self) -> Duration {
        let taken = self.points.iter().map(|point| point.confirmed.unwrap_or(self.returned));
        taken.max().unwrap_or(self.returned)
    }

    /// For the event: what went wrong first, then the times.
    pub(super) fn detail(&self) -> String {
        let mut parts = vec![format!("drill of {}", self.broker)];
        parts.extend(self.faults.iter().take(NAMES).cloned());
        let confirmed = self
            .points
            .iter()
            .filter_map(|point| Some(format!("{} confirmed in {}", point.name, millis(point.confirmed?))));
        parts.extend(confirmed.take(NAMES));
        let most = self.points.len().max(self.faults.len());
        if most > NAMES {
            parts.push("and more".to_owned());
        }
        parts.extend(self.refused.map(|at| format!("token refused after {}", millis(at))));
        parts.extend(self.lifted.map(|took| format!("lifted in {}", millis(took))));
        parts.join("; ")
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill() -> Drill {
        let at = Timestamp::from_millis(0);
        Drill::new(at, "broker-a".parse().unwrap(), "oncall".parse().unwrap())
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_slowest_stands_first_and_whoever_is_late_fails_by_name() {
        let mut drill = drill();
        let confirmed = vec!["broker-a".to_owned(), "ledger/pod-1".to_owned()];
        drill.confirmed(confirmed, vec!["broker-b".to_owned()], ms(2_000), |name| {
            if name == "broker-a" { ms(1) } else { ms(12) }
        });
        drill.refused(Watched { accepted: Some(ms(0)), refused: Some(ms(2)) }, ms(2_000));
        drill.not_lifted_at(&["broker-b".to_owned(), "broker-c".to_owned()]);
        let names: Vec<&str> = drill.points.iter().map(|point| point.name.as_str()).collect();
        assert_eq!(names, ["broker-b", "ledger/pod-1", "broker-a"]);
        assert_eq!(drill.slowest(), ms(2_000));
        assert_eq!(
            drill.faults,
            ["broker-b did not confirm within 2000 ms", "broker-c has not seen that the stop was lifted"]
        );
        assert!(drill.detail().ends_with("broker-a confirmed in 1 ms; token refused after 2 ms"));
    }

    #[test]
    fn a_token_that_is_taken_after_the_stop_fails_the_drill() {
        let refused = |accepted, refused| {
            let mut drill = drill();
            drill.refused(Watched { accepted, refused }, ms(10));
            drill.faults
        };
        assert_eq!(refused(Some(ms(9)), Some(ms(11))), Vec::<String>::new(), "asked before it returned");
        assert_eq!(
            refused(Some(ms(30)), Some(ms(31))),
            ["broker-a refused the token 21 ms after the stop was in effect"]
        );
        assert_eq!(refused(Some(ms(2_020)), None), ["broker-a went on taking the stopped token"]);
        assert_eq!(refused(None, None), ["broker-a could not tell that the token was stopped"]);
    }
}
