//! Rates: of tokens for each agent, of refusals for each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::broker::settings::Limits;
use crate::domain::agent::Agent;
use crate::domain::id::AgentId;
use crate::domain::source::network;

/// How long a caller that was refused for its rate should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

pub(super) struct RateLimits {
    agents: Option<NonZeroU32>,
    /// One limiter for each limit in use, so that an agent's own limit needs no state of its own kind.
    tokens: quick_cache::sync::Cache<NonZeroU32, std::sync::Arc<DefaultKeyedRateLimiter<AgentId>>>,
    refusals: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// Refusals beyond the rate, by source, that no event has told of yet.
    untold: Mutex<HashMap<IpAddr, u64>>,
    clock: DefaultClock,
}

/// Sources whose refusals beyond the rate are counted at once.
const MAX_UNTOLD: usize = 10_000;

/// Distinct limits that agents' files name; more share nothing but are dropped and begin anew.
const DISTINCT_LIMITS: usize = 1024;

impl RateLimits {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            agents: limits.tokens_per_minute,
            tokens: quick_cache::sync::Cache::new(DISTINCT_LIMITS),
            refusals: limits.refusals_per_minute.map(|rate| RateLimiter::keyed(Quota::per_minute(rate))),
            untold: Mutex::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one token from `agent`'s budget: the stricter of its file's and the configuration's.
    pub(super) fn token(&self, agent: &Agent) -> Result<(), TooMany> {
        let own = agent.tokens_per_minute.and_then(NonZeroU32::new);
        let rate = match (own, self.agents) {
            (Some(own), Some(all)) => own.min(all),
            (Some(rate), None) | (None, Some(rate)) => rate,
            (None, None) => return Ok(()),
        };
        let made = self.tokens.get_or_insert_with(&rate, || {
            Ok::<_, std::convert::Infallible>(RateLimiter::keyed(Quota::per_minute(rate)).into())
        });
        let Ok(limiter) = made;
        limiter.check_key(&agent.id).map_err(|not_until| TooMany(not_until.wait_time_from(self.clock.now())))
    }

    /// Counts one refusal of `source`: how many before it no event has told of, or that it is one too many.
    pub(super) fn refusal(&self, source: IpAddr) -> Result<u64, TooMany> {
        let Some(limiter) = &self.refusals else { return Ok(0) };
        let key = network(source);
        let checked = limiter.check_key(&key);
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        match checked {
            Ok(()) => Ok(untold.remove(&key).unwrap_or(0)),
            Err(not_until) => {
                if untold.len() < MAX_UNTOLD || untold.contains_key(&key) {
                    *untold.entry(key).or_insert(0) += 1;
                }
                Err(TooMany(not_until.wait_time_from(self.clock.now())))
            }
        }
    }

    /// Forgets sources that have been quiet, so that memory does not grow with addresses.
    pub(super) fn forget_quiet(&self) {
        if let Some(refusals) = &self.refusals {
            refusals.retain_recent();
            refusals.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_for_each_source_alone() {
        let limits =
            RateLimits::new(Limits { tokens_per_minute: None, refusals_per_minute: NonZeroU32::new(2) });
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(limits.refusal(one), Ok(0));
        assert_eq!(limits.refusal(one), Ok(0));
        let TooMany(wait) = limits.refusal(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert_eq!(limits.refusal(other), Ok(0));
    }
}
