//! How old what was fetched may be, and how often it is fetched.

use std::time::Duration;

/// Keys this old are stale: a proof waits for fresh ones, and `stale_keys` begins.
pub(super) const FRESH: Duration = Duration::from_secs(15 * 60);

/// Between two fetches that no caller waits for, while they fail.
const MOST_RETRY: Duration = Duration::from_secs(60);

/// When a source is asked again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Keys this old are fetched again in the background.
    pub(super) renew: Duration,
    /// Keys this old are not used before a fetch was tried.
    pub(super) fresh: Duration,
    /// Between two fetches for a `kid` that the set has not.
    pub(super) unknown_kid: Duration,
    /// Between two fetches while they fail.
    pub(super) retry: Duration,
}

impl Pace {
    /// Between two fetches that no caller waits for, after so many failures in a row.
    pub(super) fn retry_after(&self, failures: u32) -> Duration {
        if self.renew <= self.retry {
            return self.retry;
        }
        (self.retry * 2u32.pow(failures.saturating_sub(1).min(4))).min(MOST_RETRY)
    }

    pub(super) const NETWORK: Self = Self {
        renew: Duration::from_secs(10 * 60),
        fresh: FRESH,
        unknown_kid: Duration::from_secs(60),
        retry: Duration::from_secs(5),
    };
    /// A file, or a socket of this machine, is cheap to ask: what it says now holds two seconds later.
    pub(super) const LOCAL: Self = {
        let pause = Duration::from_secs(2);
        Self { renew: pause, fresh: pause, unknown_kid: pause, retry: pause }
    };
}
