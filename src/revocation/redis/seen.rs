//! Who has applied what: the brokers' reports, and this broker's memory of who reported.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Redis;
use super::wire::{Report, SEEN};
use crate::domain::id::BrokerName;
use crate::domain::time::Timestamp;
use crate::revocation::{Confirmations, Revision, RevocationError};

/// A broker that has not reported for so long is counted no more.
const FORGET: Duration = Duration::from_secs(60);
/// Its last report is removed after this.
const REMOVE: Duration = Duration::from_secs(3600);
/// Between two looks at the reports.
const LOOK: Duration = Duration::from_millis(10);

/// Remembers who reported even when Redis does not: a broker that the kill switch counted on before a flush
/// is pending after it, not unknown.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<HashMap<BrokerName, Heard>>);

#[derive(Debug)]
struct Heard {
    report: Report,
    when: Instant,
}

/// Redis' clock, as `TIME` gives it.
pub(super) fn redis_time((seconds, micros): (i64, i64)) -> Timestamp {
    Timestamp::from_seconds(seconds) + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

impl Roster {
    /// Takes in what `seen` holds at `now`, by Redis' clock. Gives the brokers whose report should be removed.
    pub(super) fn hear(
        &self,
        reports: HashMap<String, String>,
        now: Timestamp,
    ) -> Result<Vec<String>, RevocationError> {
        let broken = || RevocationError::Broken("a report of a broker".into());
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = Vec::new();
        for (name, text) in reports {
            let report = Report::parse(&text).ok_or_else(broken)?;
            let broker: BrokerName = name.parse().map_err(|_| broken())?;
            let age = now.since(report.at);
            if age > REMOVE {
                old.push(name);
            } else if age < FORGET
                && let Some(when) = Instant::now().checked_sub(age)
            {
                roster.insert(broker, Heard { report, when });
            }
        }
        Ok(old)
    }

    /// A broker shut down in good order.
    pub(super) fn forget(&self, broker: &str) {
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roster.retain(|name, _| name.as_str() != broker);
    }

    fn confirmations(&self, me: &BrokerName, revision: &Revision) -> Confirmations {
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roster.retain(|_, heard| heard.when.elapsed() < FORGET);
        // This broker's view had the change before Redis did.
        let mut answer = Confirmations { confirmed: vec![me.clone()], pending: Vec::new() };
        for (broker, heard) in roster.iter().filter(|(broker, _)| *broker != me) {
            let applied = heard.report.epoch == *revision.epoch && heard.report.revision >= revision.number;
            if applied { &mut answer.confirmed } else { &mut answer.pending }.push(broker.clone());
        }
        answer.confirmed.sort();
        answer.pending.sort();
        answer
    }
}

impl Redis {
    pub(crate) async fn confirmations(
        &self,
        revision: &Revision,
        patience: Duration,
    ) -> Result<Confirmations, RevocationError> {
        let started = Instant::now();
        loop {
            let session = self.link.session()?;
            let mut pipe = redis::pipe();
            pipe.cmd("TIME").cmd("HGETALL").arg(SEEN);
            let (now, reports): ((i64, i64), HashMap<String, String>) = pipe
                .query_async(&mut session.connection())
                .await
                .map_err(|err| self.failed(&session, &err))?;
            self.roster.hear(reports, redis_time(now))?;
            let answer = self.roster.confirmations(&self.broker, revision);
            let left = patience.saturating_sub(started.elapsed());
            if answer.pending.is_empty() || left.is_zero() {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, epoch: &str) -> Revision {
        Revision { number, epoch: epoch.into() }
    }

    fn reports(reports: &[(&str, &str)]) -> HashMap<String, String> {
        reports.iter().map(|(broker, text)| ((*broker).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn only_a_report_of_the_same_life_and_as_far_confirms() {
        let roster = Roster::default();
        let now = Timestamp::from_seconds(10_000);
        let said = reports(&[
            ("enough", "7 9999000 now.1.2"),
            ("short", "6 9999000 now.1.2"),
            ("elsewhere", "9 9999000 before.1.2"),
            ("asleep", "9 9940000 now.1.2"),
            ("long-gone", "9 6399000 now.1.2"),
        ]);
        assert_eq!(roster.hear(said, now), Ok(vec!["long-gone".to_owned()]));
        let me = "me".parse().unwrap();
        let answer = roster.confirmations(&me, &revision(7, "now.1.2"));
        let names = |names: &[BrokerName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&answer.confirmed), ["enough", "me"]);
        assert_eq!(names(&answer.pending), ["elsewhere", "short"]);

        roster.forget("short");
        assert_eq!(names(&roster.confirmations(&me, &revision(7, "now.1.2")).pending), ["elsewhere"]);
    }

    #[test]
    fn a_report_that_cannot_be_read_is_an_error() {
        let now = Timestamp::from_seconds(10_000);
        for (broker, text) in [("a", ""), ("a", "7"), ("a", "7 9999000"), ("a", "x 1 e"), ("UPPER", "1 1 e")]
        {
            let heard = Roster::default().hear(reports(&[(broker, text)]), now);
            assert!(matches!(heard, Err(RevocationError::Broken(_))), "{broker} {text:?}");
        }
    }
}
