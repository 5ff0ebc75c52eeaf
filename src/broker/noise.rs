//! How many refusals have an event: of strangers altogether, and of each agent and operator, whatever their addresses.
//! The rest is counted, and once a minute an event says how many there were.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Between two events that count.
const MINUTE: Duration = Duration::from_secs(60);

/// Addresses that are told apart; more are counted as so many.
const MAX_SOURCES: usize = 10_000;

pub(super) struct Noise {
    events: Option<DefaultDirectRateLimiter>,
    untold: Mutex<Option<Untold>>,
}

/// Refusals without an event.
struct Untold {
    since: Instant,
    count: u64,
    sources: HashSet<IpAddr>,
}

/// What the next event says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) count: u64,
    pub(super) sources: usize,
}

impl Noise {
    /// None: every refusal has its event.
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Self {
        let events = per_minute.map(|rate| RateLimiter::direct(Quota::per_minute(rate)));
        Self { events, untold: Mutex::default() }
    }

    /// Whether a refusal has an event of its own. One that has none is counted, with `before` earlier ones of its source
    /// that its event would have told of.
    pub(super) fn may_tell(&self, source: IpAddr, before: u64, now: Instant) -> bool {
        let may = self.events.as_ref().is_none_or(|events| events.check().is_ok());
        if !may {
            self.count(source, before, now);
        }
        may
    }

    fn count(&self, source: IpAddr, before: u64, now: Instant) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = untold.get_or_insert_with(|| Untold { since: now, count: 0, sources: HashSet::new() });
        untold.count = untold.count.saturating_add(1).saturating_add(before);
        if untold.sources.len() < MAX_SOURCES {
            untold.sources.insert(source);
        }
    }

    /// What has to be told, once a minute has passed since the first of it.
    pub(super) fn due(&self, now: Instant) -> Option<Counted> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |untold: &Untold| now.saturating_duration_since(untold.since) >= MINUTE;
        if !untold.as_ref().is_some_and(is_due) {
            return None;
        }
        untold.take().map(Untold::counted)
    }

    /// What has to be told before this process ends.
    pub(super) fn rest(&self) -> Option<Counted> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).take().map(Untold::counted)
    }
}

/// The same for callers who are known, so that none of them costs another an event.
pub(super) struct NoiseOf<K: Hash + Eq + Clone> {
    events: Option<DefaultKeyedRateLimiter<K>>,
    pub(super) rest: Noise,
}

impl<K: Hash + Eq + Clone> NoiseOf<K> {
    /// Events of each of them. None: every refusal has its event.
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Self {
        let events = per_minute.map(|rate| RateLimiter::keyed(Quota::per_minute(rate)));
        Self { events, rest: Noise::new(None) }
    }

    /// As [`Noise::may_tell`].
    pub(super) fn may_tell(&self, who: &K, source: IpAddr, before: u64, now: Instant) -> bool {
        let may = self.events.as_ref().is_none_or(|events| events.check_key(who).is_ok());
        if !may {
            self.rest.count(source, before, now);
        }
        may
    }
}

impl Untold {
    fn counted(self) -> Counted {
        Counted { count: self.count, sources: self.sources.len() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_beyond_the_bound_is_counted_once_a_minute() {
        let noise = Noise::new(NonZeroU32::new(100));
        let begun = Instant::now();
        let source = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0000 + n));
        let told = (0..3000).filter(|n| noise.may_tell(source(*n), 0, begun)).count();
        assert!((100..=110).contains(&told), "{told}: a few more, if a second passed");
        assert!(!noise.may_tell(source(1), 7, begun));
        assert_eq!(noise.due(begun + Duration::from_secs(59)), None);
        let counted = noise.due(begun + MINUTE).unwrap();
        assert_eq!(counted.count, 3000 - told as u64 + 8);
        assert!(counted.sources >= 2890, "{counted:?}");
        assert_eq!((noise.due(begun + 2 * MINUTE), noise.rest()), (None, None), "once");
        assert!((0..3000).all(|n| Noise::new(None).may_tell(source(n), 0, begun)));
    }

    #[test]
    fn whoever_is_known_has_a_bound_of_its_own() {
        let noise = NoiseOf::new(NonZeroU32::new(10));
        let source = |n: u8| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
        let told = (0..200).filter(|n| noise.may_tell(&"noisy", source(*n), 0, Instant::now())).count();
        assert!((10..=11).contains(&told), "{told}");
        assert!(noise.may_tell(&"quiet", source(1), 0, Instant::now()));
        assert_eq!(noise.rest.rest().unwrap().count, 200 - told as u64);
    }

    #[test]
    fn memory_does_not_grow_with_addresses() {
        let noise = Noise::new(NonZeroU32::new(1));
        for n in 0..20_000u32 {
            noise.may_tell(IpAddr::V4(Ipv4Addr::from_bits(n)), 0, Instant::now());
        }
        let counted = noise.rest().unwrap();
        assert!(counted.count > 19_000);
        assert_eq!(counted.sources, MAX_SOURCES);
    }
}
