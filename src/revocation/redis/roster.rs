//! Who has applied what: the nodes' reports, and this node's memory of who reported.
//!
//! A report is alive as long as it changes. That is measured by this node's own monotonic clock, since it heard the last
//! change: no clock of another machine, and none that can be set, decides who is counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::State;
use crate::domain::id::BrokerName;
use crate::domain::revocation::Revision;
use crate::revocation::{Applied, Confirmations, RevocationError};

/// A node that has not reported for so long is counted no more.
const FORGET: Duration = Duration::from_secs(60);
/// Its last report is removed after this.
const REMOVE: Duration = Duration::from_secs(3600);

/// What a node reports: `<beat> <revision> <life> <serial> <instance>`. The beat changes with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) beat: String,
    /// Its view holds every change up to this one.
    pub(super) revision: Revision,
    /// Up to where it has followed the log.
    pub(super) life: Arc<str>,
    pub(super) serial: u64,
    /// Which opening of the store it works on.
    pub(super) instance: String,
}

impl Report {
    pub(super) fn of(beat: String, revision: Revision, followed: &State, instance: String) -> Self {
        Self { beat, revision, life: Arc::clone(&followed.life), serial: followed.serial, instance }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let report = Self {
            beat: parts.next().filter(|beat| !beat.is_empty())?.to_owned(),
            revision: Revision::new(parts.next()?.parse().ok()?),
            life: parts.next().filter(|life| !life.is_empty())?.into(),
            serial: parts.next()?.parse().ok()?,
            instance: parts.next().filter(|instance| !instance.is_empty())?.to_owned(),
        };
        parts.next().is_none().then_some(report)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.beat, self.revision, self.life, self.serial, self.instance)
    }
}

/// Remembers who reported even when Redis does not: a node that the kill switch counted on before a flush
/// is pending after it, not unknown.
#[derive(Debug, Default)]
pub(super) struct Roster {
    nodes: Mutex<HashMap<BrokerName, Heard>>,
    /// When another node was last heard under this one's own name.
    namesake: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Heard {
    report: Report,
    /// When this node first heard it.
    heard: Instant,
}

impl Roster {
    fn lock(&self) -> MutexGuard<'_, HashMap<BrokerName, Heard>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another node reports under this one's name. Says whether that is news.
    pub(super) fn note_namesake(&self, now: Instant) -> bool {
        let mut namesake = self.namesake.lock().unwrap_or_else(PoisonError::into_inner);
        let known = namesake.replace(now);
        known.is_none_or(|known| now.saturating_duration_since(known) >= FORGET)
    }

    /// It shut down in good order: an earlier process, most often.
    pub(super) fn forget_namesake(&self) {
        *self.namesake.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes in what `seen` holds. Gives the nodes whose report should be removed.
    pub(super) fn hear(
        &self,
        reports: HashMap<String, String>,
        now: Instant,
    ) -> Result<Vec<String>, RevocationError> {
        let broken = || RevocationError::Broken("a report of a node".into());
        let mut roster = self.lock();
        let mut old = Vec::new();
        for (name, text) in reports {
            let report = Report::parse(&text).ok_or_else(broken)?;
            let node: BrokerName = name.parse().map_err(|_| broken())?;
            match roster.get(&node) {
                Some(known) if known.report == report => {
                    if now.saturating_duration_since(known.heard) > REMOVE {
                        old.push(name);
                    }
                }
                _ => drop(roster.insert(node, Heard { report, heard: now })),
            }
        }
        Ok(old)
    }

    /// A node shut down in good order, or its last report was removed.
    pub(super) fn forget(&self, node: &str) {
        self.lock().retain(|name, _| name.as_str() != node);
    }

    /// Who has applied the change. With none, nobody but this node has.
    pub(super) fn confirmations(
        &self,
        me: &BrokerName,
        applied: Option<&Applied>,
        now: Instant,
    ) -> Confirmations {
        // This node's view had the change before Redis did.
        let mut answer = Confirmations { confirmed: vec![me.clone()], ..Confirmations::default() };
        let alive = |heard: &Heard| now.saturating_duration_since(heard.heard) < FORGET;
        for (node, heard) in self.lock().iter().filter(|(node, heard)| *node != me && alive(heard)) {
            let confirmed = applied.is_some_and(|applied| heard.confirms(applied));
            if confirmed { &mut answer.confirmed } else { &mut answer.pending }.push(node.clone());
        }
        let namesake = *self.namesake.lock().unwrap_or_else(PoisonError::into_inner);
        if namesake.is_some_and(|heard| now.saturating_duration_since(heard) < FORGET) {
            // Nobody can tell which of the two has reported.
            answer.pending.push(me.clone());
        }
        answer.confirmed.sort();
        answer.pending.sort();
        answer
    }
}

impl Heard {
    fn confirms(&self, Applied { revision, place: (life, serial), sent, .. }: &Applied) -> bool {
        match revision {
            // Its view holds every change up to the one that it reports, and the store gives no number twice.
            Some(revision) => self.report.revision >= *revision,
            // A place in a life that was lost, or one heard before the change was sent, is no proof.
            None => self.report.life == *life && self.report.serial >= *serial && self.heard >= *sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(reports: &[(&str, &str)]) -> HashMap<String, String> {
        reports.iter().map(|(node, text)| ((*node).to_owned(), (*text).to_owned())).collect()
    }

    fn numbered(revision: u64, sent: Instant) -> Applied {
        Applied { revision: Some(Revision::new(revision)), place: ("now".into(), 1), sent, session: 1 }
    }

    fn names(names: &[BrokerName]) -> Vec<&str> {
        names.iter().map(BrokerName::as_str).collect()
    }

    #[test]
    fn only_a_report_of_the_revision_confirms_it() {
        let (roster, me, start) = (Roster::default(), "me".parse().unwrap(), Instant::now());
        let said = reports(&[
            ("enough", "1 7 now 1 s"),
            ("short", "1 6 now 9 s"),
            ("asleep", "1 9 now 9 s"),
            ("me", "1 1 x 1 s"),
        ]);
        roster.hear(said, start).unwrap();
        let awake =
            reports(&[("enough", "2 7 now 1 s"), ("short", "2 6 now 9 s"), ("asleep", "1 9 now 9 s")]);
        let later = start + Duration::from_secs(59);
        assert_eq!(roster.hear(awake, later), Ok(vec![]));
        let answer = roster.confirmations(&me, Some(&numbered(7, later)), start + Duration::from_secs(61));
        assert_eq!(names(&answer.confirmed), ["enough", "me"]);
        assert_eq!(names(&answer.pending), ["short"], "one that is silent for a minute is not counted");
        let nobody = roster.confirmations(&me, None, later);
        assert_eq!(names(&nobody.pending), ["asleep", "enough", "short"], "nobody can be asked");
        roster.forget("short");
        assert!(roster.confirmations(&me, Some(&numbered(7, later)), later).pending.is_empty());
    }

    #[test]
    fn a_stop_without_a_number_is_confirmed_by_its_place_in_the_log() {
        let (roster, me, start) = (Roster::default(), "me".parse().unwrap(), Instant::now());
        let sent = start + Duration::from_millis(5);
        let change = Applied { revision: None, place: ("now".into(), 7), sent, session: 1 };
        let pending = |reports_at: &[(&str, &str)], at| {
            roster.hear(reports(reports_at), at).unwrap();
            roster.confirmations(&me, Some(&change), at).pending.len()
        };
        assert_eq!(pending(&[("b", "1 0 now 9 s")], start), 1, "heard before it was sent");
        assert_eq!(pending(&[("b", "2 0 now 6 s")], sent), 1, "not as far");
        assert_eq!(pending(&[("b", "3 0 before 9 s")], sent), 1, "of a life that was lost");
        assert_eq!(pending(&[("b", "4 0 now 7 s")], sent), 0);
    }

    #[test]
    fn a_report_that_stays_the_same_is_removed_after_an_hour() {
        let (roster, start) = (Roster::default(), Instant::now());
        let said = reports(&[("gone", "1 7 now 1 s")]);
        assert_eq!(roster.hear(said.clone(), start), Ok(vec![]));
        assert_eq!(roster.hear(said.clone(), start + REMOVE), Ok(vec![]));
        assert_eq!(roster.hear(said, start + REMOVE + Duration::from_secs(1)), Ok(vec!["gone".to_owned()]));
    }

    #[test]
    fn a_report_that_cannot_be_read_is_an_error() {
        for (node, text) in [
            ("a", ""),
            ("a", "7"),
            ("a", "1 7"),
            ("a", "1 7 e"),
            ("a", "1 x e 1"),
            ("a", "1 1 e x"),
            ("a", "1 1 e 1"),
            ("UPPER", "1 1 e 1 s"),
        ] {
            let heard = Roster::default().hear(reports(&[(node, text)]), Instant::now());
            assert!(matches!(heard, Err(RevocationError::Broken(_))), "{node} {text:?}");
        }
    }
}
