//! What the log says of an authority that cannot be followed: when it goes, for each kind of reason once, once a minute
//! while it is away, and when it is back. The follower tries twice a second, and so many lines would hide all others.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use crate::revocation::RevocationError;

type Kind = Discriminant<RevocationError>;

/// Between two lines about one outage.
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Outage(Option<Away>);

#[derive(Debug)]
struct Away {
    since: Instant,
    /// When the last line was written.
    told: Instant,
    attempts: u64,
    /// What the log has said why it is.
    kinds: Vec<Kind>,
}

/// A line that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Gone,
    StillAway {
        since: Duration,
        /// Since it went.
        attempts: u64,
    },
}

impl Outage {
    /// Notes an attempt that failed for this kind of reason.
    pub(super) fn failed(&mut self, kind: Kind, now: Instant) -> Option<Line> {
        let Some(away) = &mut self.0 else {
            self.0 = Some(Away { since: now, told: now, attempts: 1, kinds: vec![kind] });
            return Some(Line::Gone);
        };
        away.attempts += 1;
        if !away.kinds.contains(&kind) {
            away.kinds.push(kind);
            return Some(Line::Gone);
        }
        if now.duration_since(away.told) < MINUTE {
            return None;
        }
        away.told = now;
        Some(Line::StillAway { since: now.duration_since(away.since), attempts: away.attempts })
    }

    /// Notes that it is followed; how long it was away, if it was.
    pub(super) fn over(&mut self, now: Instant) -> Option<Duration> {
        self.0.take().map(|away| now.duration_since(away.since))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_each_minute_and_when_it_ends() {
        let start = Instant::now();
        let at = |half_seconds: u64| start + Duration::from_millis(500 * half_seconds);
        let mut outage = Outage::default();
        let unreachable = discriminant(&RevocationError::Unreachable(String::new()));
        let amnesia = discriminant(&RevocationError::Amnesia);
        assert_eq!(outage.over(at(0)), None);
        let told: Vec<(u64, Line)> =
            (0..=300).filter_map(|n| Some((n, outage.failed(unreachable, at(n))?))).collect();
        let still = |n: u64| Line::StillAway { since: Duration::from_secs(n / 2), attempts: n + 1 };
        assert_eq!(told, [(0, Line::Gone), (120, still(120)), (240, still(240))]);
        assert_eq!(outage.failed(amnesia, at(300)), Some(Line::Gone), "another reason");
        assert_eq!((outage.failed(unreachable, at(300)), outage.failed(amnesia, at(300))), (None, None));
        assert_eq!(outage.over(at(301)), Some(Duration::from_millis(150_500)));
        assert_eq!(outage.over(at(302)), None);
        assert_eq!(outage.failed(unreachable, at(303)), Some(Line::Gone));
    }
}
