//! Rates: of requests for tokens for each agent, of refusals for each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::broker::noise::Noise;
use crate::broker::settings::Limits;
use crate::domain::agent::Agent;
use crate::domain::id::AgentId;
use crate::domain::source::network;
use crate::identity::Claimant;

/// How long a caller that was refused for its rate should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

pub(super) struct RateLimits {
    agents: Option<NonZeroU32>,
    /// One limiter for each limit in use, so that an agent's own limit needs no state of its own kind.
    tokens: quick_cache::sync::Cache<NonZeroU32, std::sync::Arc<DefaultKeyedRateLimiter<AgentId>>>,
    refusals: Sources,
    operators: Sources,
    /// Of whom no agent is known.
    pub(super) strangers: Noise,
    /// Of whom no operator is known.
    pub(super) strange_operators: Noise,
    /// Bad proofs, by source and claimant.
    proofs: Option<Proofs>,
    /// Sources that sent bad proofs lately, and until when the next of a claimant is not verified.
    barred: Mutex<HashMap<IpAddr, Bars>>,
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

/// One that says how many more would be within the rate.
type Proofs = RateLimiter<
    (IpAddr, usize),
    DefaultKeyedStateStore<(IpAddr, usize)>,
    DefaultClock,
    StateInformationMiddleware,
>;

/// By claimant, in so many groups: a bad client behind one address keeps a sixteenth of the good ones from proving
/// themselves, and one that invents claimants has no more tries than sixteen.
type Bars = [Option<Instant>; CLAIMANTS];
const CLAIMANTS: usize = 16;

/// Sources whose refusals beyond the rate are counted at once.
const MAX_UNTOLD: usize = 10_000;

/// Distinct limits that agents' files name; more share nothing but are dropped and begin anew.
const DISTINCT_LIMITS: usize = 1024;

impl RateLimits {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            agents: limits.tokens_per_minute,
            tokens: quick_cache::sync::Cache::new(DISTINCT_LIMITS),
            refusals: Sources::new(limits.refusals_per_minute),
            operators: Sources::new(limits.refusals_per_minute),
            strangers: Noise::new(limits.refusal_events_per_minute),
            strange_operators: Noise::new(limits.refusal_events_per_minute),
            proofs: limits
                .refusals_per_minute
                .map(|rate| RateLimiter::keyed(Quota::per_minute(rate)).with_middleware()),
            barred: Mutex::default(),
            clock: DefaultClock::default(),
        }
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

    /// Whether `source` sent bad proofs beyond the rate lately, of whomever.
    pub(super) fn has_bad_proofs(&self, source: IpAddr) -> bool {
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        !barred.is_empty() && barred.contains_key(&network(source))
    }

    /// Whether a proof of `claimant` from `source` may be verified: it may unless as many as the rate of refusals
    /// allows were bad lately.
    pub(super) fn may_prove(&self, source: IpAddr, claimant: Claimant) -> Result<(), TooMany> {
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let until = barred.get(&network(source)).and_then(|bars| bars[group(claimant)]);
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(wait) if !wait.is_zero() => Err(TooMany(wait)),
            _ => Ok(()),
        }
    }

    /// Counts a proof that was not good.
    pub(super) fn bad_proof(&self, source: IpAddr, claimant: Claimant) {
        let Some(limiter) = &self.proofs else { return };
        let (source, group) = (network(source), group(claimant));
        // The one that reaches the rate bars the next, until there is room for it.
        let wait = match limiter.check_key(&(source, group)) {
            Ok(state) if state.remaining_burst_capacity() > 0 => return,
            Ok(state) => state.quota().replenish_interval(),
            Err(not_until) => not_until.wait_time_from(self.clock.now()),
        };
        let until = Instant::now() + wait;
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        if barred.len() < MAX_UNTOLD || barred.contains_key(&source) {
            barred.entry(source).or_default()[group] = Some(until);
        }
    }

    /// Forgets sources that have been quiet, so that memory does not grow with addresses.
    pub(super) fn forget_quiet(&self) {
        self.refusals.forget_quiet();
        self.operators.forget_quiet();
        if let Some(proofs) = &self.proofs {
            proofs.retain_recent();
            proofs.shrink_to_fit();
        }
        let now = Instant::now();
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        barred.retain(|_, bars| bars.iter().flatten().any(|until| *until > now));
    }
}

fn group(claimant: Claimant) -> usize {
    usize::from(claimant.0.0[0]) % CLAIMANTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(refusals_per_minute: Option<NonZeroU32>) -> Limits {
        Limits { tokens_per_minute: None, refusals_per_minute, refusal_events_per_minute: None }
    }

    /// Whose first byte decides its group.
    fn claimant(n: u8) -> Claimant {
        Claimant(crate::domain::digest::Digest([n; 32]))
    }

    #[test]
    fn bad_proofs_bar_the_next_of_the_same_claimant_and_source() {
        let rate = NonZeroU32::new(5);
        let limits = RateLimits::new(limited(rate));
        let (source, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..5 {
            assert_eq!(limits.may_prove(source, claimant(1)), Ok(()));
            limits.bad_proof(source, claimant(1));
        }
        let TooMany(wait) = limits.may_prove(source, claimant(1)).unwrap_err();
        assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(12), "{wait:?}");
        assert!(limits.has_bad_proofs(source) && !limits.has_bad_proofs(other));
        assert_eq!(limits.may_prove(source, claimant(2)), Ok(()), "another claimant behind the same address");
        assert_eq!(limits.may_prove(other, claimant(1)), Ok(()), "the same claimant from elsewhere");
        limits.forget_quiet();
        assert!(limits.may_prove(source, claimant(1)).is_err(), "not forgotten before its time");
    }

    #[test]
    fn who_invents_claimants_has_no_more_tries_for_it() {
        let rate = NonZeroU32::new(5);
        let limits = RateLimits::new(limited(rate));
        let source = "2001:db8::1".parse().unwrap();
        let verified = (0..1000u32).filter(|n| {
            let invented = Claimant(crate::domain::digest::Digest::of(&n.to_le_bytes()));
            let may = limits.may_prove(source, invented).is_ok();
            if may {
                limits.bad_proof(source, invented);
            }
            may
        });
        assert_eq!(verified.count(), 5 * CLAIMANTS);
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
