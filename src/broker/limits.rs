//! Rates: of requests for tokens for each agent, of refusals for each source.
//!
//! No rate keeps a proof from being verified. Whoever invents names or uses those of others could otherwise lock agents
//! out behind the same address; and if names that nobody registered were barred alone, the bar would tell which are
//! registered. How much of the broker one source keeps busy is bounded by its share of the turns (`http/call.rs`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::broker::noise::{Noise, NoiseOf};
use crate::broker::settings::Limits;
use crate::domain::agent::Agent;
use crate::domain::id::{AgentId, OperatorName};
use crate::domain::source::network;

/// How long a caller that was refused for its rate should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

pub(super) struct RateLimits {
    settings: Limits,
    agents: Option<NonZeroU32>,
    /// One limiter for each limit in use, so that an agent's own limit needs no state of its own kind.
    tokens: quick_cache::sync::Cache<NonZeroU32, std::sync::Arc<DefaultKeyedRateLimiter<AgentId>>>,
    refusals: Sources,
    operators: Sources,
    /// Of whom no agent is known.
    pub(super) strangers: Noise,
    /// Of whom no operator is known.
    pub(super) strange_operators: Noise,
    pub(super) known_agents: NoiseOf<AgentId>,
    pub(super) known_operators: NoiseOf<OperatorName>,
    clock: DefaultClock,
}

/// Refusals by source.
struct Sources {
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// Those beyond the rate that no event has told of yet.
    untold: Mutex<HashMap<IpAddr, u64>>,
}

impl Sources {
    fn new(rate: Option<NonZeroU32>) -> Self {
        let rate = rate.map(|rate| RateLimiter::keyed(Quota::per_minute(rate)));
        Self { rate, untold: Mutex::default() }
    }

    /// Counts one refusal of `source`: how many before it no event has told of, or that it is one too many.
    fn refusal(&self, source: IpAddr, clock: &DefaultClock) -> Result<u64, TooMany> {
        let Some(rate) = &self.rate else { return Ok(0) };
        let key = network(source);
        let checked = rate.check_key(&key);
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        match checked {
            Ok(()) => Ok(untold.remove(&key).unwrap_or(0)),
            Err(not_until) => {
                if untold.len() < MAX_UNTOLD || untold.contains_key(&key) {
                    *untold.entry(key).or_insert(0) += 1;
                }
                Err(TooMany(not_until.wait_time_from(clock.now())))
            }
        }
    }

    fn forget_quiet(&self) {
        if let Some(rate) = &self.rate {
            rate.retain_recent();
            rate.shrink_to_fit();
        }
    }
}

/// Sources whose refusals beyond the rate are counted at once.
const MAX_UNTOLD: usize = 10_000;

/// Distinct limits that agents' files name; more share nothing but are dropped and begin anew.
const DISTINCT_LIMITS: usize = 1024;

impl RateLimits {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            settings: limits,
            agents: limits.tokens_per_minute,
            tokens: quick_cache::sync::Cache::new(DISTINCT_LIMITS),
            refusals: Sources::new(limits.refusals_per_minute),
            operators: Sources::new(limits.refusals_per_minute),
            strangers: Noise::new(limits.refusal_events_per_minute),
            strange_operators: Noise::new(limits.refusal_events_per_minute),
            known_agents: NoiseOf::new(limits.refusals_per_minute),
            known_operators: NoiseOf::new(limits.refusals_per_minute),
            clock: DefaultClock::default(),
        }
    }

    /// What it was made of.
    pub(super) fn settings(&self) -> Limits {
        self.settings
    }

    /// Takes one request from `agent`'s budget: the stricter of its file's and the configuration's.
    pub(super) fn request(&self, agent: &Agent) -> Result<(), TooMany> {
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
        self.refusals.refusal(source, &self.clock)
    }

    /// The same of an operator, or of one whose key nobody has.
    pub(super) fn operator_refusal(&self, source: IpAddr) -> Result<u64, TooMany> {
        self.operators.refusal(source, &self.clock)
    }

    /// Forgets sources that have been quiet, so that memory does not grow with addresses.
    pub(super) fn forget_quiet(&self) {
        self.refusals.forget_quiet();
        self.operators.forget_quiet();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(refusals_per_minute: Option<NonZeroU32>) -> Limits {
        Limits { tokens_per_minute: None, refusals_per_minute, refusal_events_per_minute: None }
    }

    #[test]
    fn refusals_are_counted_for_each_source_alone() {
        let limits = RateLimits::new(limited(NonZeroU32::new(2)));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(limits.refusal(one), Ok(0));
        assert_eq!(limits.refusal(one), Ok(0));
        let TooMany(wait) = limits.refusal(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert_eq!(limits.refusal(other), Ok(0));
    }
}
