//! Who has applied what: the brokers' reports, and this broker's memory of who reported.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Redis;
use super::wire::{LINEAGE, Lineage, Report, SEEN, STOPS};
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
    /// When it was made.
    when: Instant,
    /// When this broker first heard it.
    heard: Instant,
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
        let heard = Instant::now();
        for (name, text) in reports {
            let report = Report::parse(&text).ok_or_else(broken)?;
            let broker: BrokerName = name.parse().map_err(|_| broken())?;
            let age = now.since(report.at);
            if age > REMOVE {
                old.push(name);
            } else if age < FORGET
                && let Some(when) = heard.checked_sub(age)
                && roster.get(&broker).is_none_or(|known| known.report != report)
            {
                roster.insert(broker, Heard { report, when, heard });
            }
        }
        Ok(old)
    }

    /// A broker shut down in good order.
    pub(super) fn forget(&self, broker: &str) {
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roster.retain(|name, _| name.as_str() != broker);
    }

    /// `now` is the authority's lineage, if it has one.
    fn confirmations(&self, me: &BrokerName, revision: &Revision, now: Option<&Lineage>) -> Confirmations {
        let mut roster = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roster.retain(|_, heard| heard.when.elapsed() < FORGET);
        // This broker's view had the change before Redis did.
        let mut answer = Confirmations { confirmed: vec![me.clone()], pending: Vec::new() };
        for (broker, heard) in roster.iter().filter(|(broker, _)| *broker != me) {
            let seen = &heard.report.lineage;
            let applied = seen.epoch == revision.epoch && seen.revision >= revision.number;
            // What is ahead of the authority, or elsewhere, is a place in a life that it lost.
            let lost = now.is_some_and(|now| now.epoch == seen.epoch && !now.may_follow(seen));
            let applied = applied && !lost && heard.heard >= revision.sent;
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
            pipe.cmd("TIME").cmd("HGETALL").arg(SEEN).cmd("HGET").arg(STOPS).arg(LINEAGE);
            type Answer = ((i64, i64), HashMap<String, String>, Option<String>);
            let (time, reports, lineage): Answer = pipe
                .query_async(&mut session.connection())
                .await
                .map_err(|err| self.failed(&session, &err))?;
            self.roster.hear(reports, redis_time(time))?;
            let now = lineage.and_then(|text| Lineage::parse(&text));
            let answer = self.roster.confirmations(&self.broker, revision, now.as_ref());
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
        Revision { number, epoch: epoch.into(), sent: Instant::now() }
    }

    fn names(names: &[BrokerName]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn reports(reports: &[(&str, &str)]) -> HashMap<String, String> {
        reports.iter().map(|(broker, text)| ((*broker).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn only_a_report_of_the_same_life_and_as_far_confirms() {
        let roster = Roster::default();
        let now = Timestamp::from_seconds(10_000);
        let said = reports(&[
            ("enough", "9999000 7 now.1.2 aa"),
            ("short", "9999000 6 now.1.2 99"),
            ("elsewhere", "9999000 9 before.1.2 cc"),
            ("asleep", "9940000 9 now.1.2 cc"),
            ("long-gone", "6399000 9 now.1.2 cc"),
        ]);
        let change = revision(7, "now.1.2");
        assert_eq!(roster.hear(said, now), Ok(vec!["long-gone".to_owned()]));
        let me = "me".parse().unwrap();
        let answer = roster.confirmations(&me, &change, None);
        assert_eq!(names(&answer.confirmed), ["enough", "me"]);
        assert_eq!(names(&answer.pending), ["elsewhere", "short"]);

        roster.forget("short");
        assert_eq!(names(&roster.confirmations(&me, &change, None).pending), ["elsewhere"]);
    }

    /// The authority fell back from 9 changes to 6, unnoticed so far, and the change became the seventh.
    #[test]
    fn a_report_from_before_a_loss_confirms_nothing() {
        let (roster, me) = (Roster::default(), "me".parse().unwrap());
        let now = Timestamp::from_seconds(10_000);
        let before = reports(&[("before", "9999000 9 now.1.2 cc")]);
        roster.hear(before.clone(), now).unwrap();
        let change = revision(7, "now.1.2");
        roster.hear(before, now).unwrap();
        let late = reports(&[("ahead", "9999100 9 now.1.2 cc"), ("level", "9999100 8 now.1.2 bb")]);
        roster.hear(late, now).unwrap();
        let pending = |lineage: &str| {
            let lineage = Lineage::parse(lineage).unwrap();
            names(&roster.confirmations(&me, &change, Some(&lineage)).pending)
        };
        assert_eq!(pending("7 now.1.2 a7"), ["ahead", "before", "level"]);
        assert_eq!(pending("8 now.1.2 b8"), ["ahead", "before", "level"]);
        assert_eq!(pending("8 now.1.2 bb"), ["ahead", "before"], "this one goes on from it");
        assert_eq!(pending("10 now.1.2 da"), ["before"], "heard before the change was sent");
        assert_eq!(pending("1 next.1.2 aa"), ["before"], "what was seen in the life before was seen");

        roster.hear(reports(&[("before", "9999200 10 now.1.2 da")]), now).unwrap();
        assert_eq!(pending("10 now.1.2 da"), Vec::<String>::new());
    }

    #[test]
    fn a_report_that_cannot_be_read_is_an_error() {
        let now = Timestamp::from_seconds(10_000);
        for (broker, text) in [
            ("a", ""),
            ("a", "7"),
            ("a", "9999000 7"),
            ("a", "9999000 7 e"),
            ("a", "x 1 e c"),
            ("a", "1 x e c"),
            ("UPPER", "1 1 e c"),
        ] {
            let heard = Roster::default().hear(reports(&[(broker, text)]), now);
            assert!(matches!(heard, Err(RevocationError::Broken(_))), "{broker} {text:?}");
        }
    }
}
