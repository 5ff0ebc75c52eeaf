//! How long to go on asking: waits that grow, with jitter, and never beyond a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::{Failure, Host, Outcome};
use crate::domain::random::Random;

const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Waits that double up to a limit. Each is a random part of its step, at least half of it, so that a
/// thousand agents that were refused together do not come back together.
#[derive(Debug)]
pub struct Backoff {
    step: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { step: first, longest }
    }

    /// The next wait, never shorter than `at_least`. That one is what a broker asked for, so the jitter comes on top.
    pub fn next(&mut self, at_least: Duration, random: &Random) -> Duration {
        // Without random bytes every wait is a whole step: late is better than never.
        let byte = random.bytes::<1>().map_or(u8::MAX, |[byte]| byte);
        let half = self.step / 2;
        let jitter = half.mul_f64(f64::from(byte) / f64::from(u8::MAX));
        self.step = self.step.saturating_mul(2).min(self.longest);
        half.saturating_add(jitter).max(at_least.saturating_add(jitter))
    }
}

/// Asks until it is told yes, or a no that waiting does not change, or `patience` is over. A `Retry-After`
/// that lies beyond it ends the asking at once.
///
/// # Errors
/// What the last try failed with.
pub async fn patiently<T>(
    patience: Duration,
    host: &mut Host<'_>,
    mut ask: impl AsyncFnMut(&mut Host<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let deadline = Instant::now() + patience;
    let mut backoff = Backoff::new(FIRST_WAIT, Duration::from_secs(8));
    let given_up = || format!("{} s (--timeout)", patience.as_secs());
    let mut last: Option<Failure> = None;
    loop {
        let failure = match timeout_at(deadline, ask(host)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => {
                let silence = || Failure::failed("no answer from the broker in time");
                return Err(last.unwrap_or_else(silence).fact("given up after", given_up()));
            }
        };
        let Some(after) = failure.passes_after() else { return Err(failure) };
        let wait = backoff.next(after, &host.random);
        if wait > deadline.saturating_duration_since(Instant::now()) {
            return Err(failure.fact("given up after", given_up()));
        }
        if last.is_none() {
            host.note(&format!("{}; trying again for up to {} s", failure.message(), patience.as_secs()));
        }
        last = Some(failure);
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test owns its machine")]
    fn random() -> Random {
        Random::new(ring::rand::SystemRandom::new())
    }

    proptest! {
        #[test]
        fn waits_grow_to_a_limit_and_honour_what_was_asked(tries in 1_usize..40, asked in 0_u64..100) {
            let (first, longest) = (Duration::from_millis(250), Duration::from_secs(8));
            let mut backoff = Backoff::new(first, longest);
            let asked = Duration::from_secs(asked);
            let mut step = first;
            for _ in 0..tries {
                let wait = backoff.next(asked, &random());
                prop_assert!(wait >= asked && wait >= step / 2);
                prop_assert!(wait <= step.max(asked + step / 2));
                step = (step * 2).min(longest);
            }
        }
    }

    #[test]
    fn waits_differ() {
        let all: std::collections::BTreeSet<Duration> =
            (0..64).map(|_| Backoff::new(FIRST_WAIT, FIRST_WAIT).next(Duration::ZERO, &random())).collect();
        assert!(all.len() > 8, "{all:?}");
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        backoff.next(Duration::MAX, &random());
        backoff.next(Duration::MAX, &random());
    }
}
