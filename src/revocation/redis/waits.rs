//! How long Redis is waited for. All of it follows `revocation.max_staleness`: whoever accepts older views has a Redis
//! that is farther away.

use std::time::Duration;

/// What this node waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    /// TCP, TLS, authentication and a first PING together: four times there and back.
    pub(super) connect: Duration,
    /// Any answer but that of a blocking read or a refill. Issuance waits as long before it goes on without Redis.
    pub(super) response: Duration,
    /// What a part of a push, or a part of a load, may take.
    pub(super) patient: Duration,
}

impl Waits {
    pub(super) fn of(max_staleness: Duration) -> Self {
        let [least, most] = [200, 5_000].map(Duration::from_millis);
        let response = (max_staleness / 6).clamp(least, most);
        Self { connect: 3 * response, response, patient: (4 * response).max(Duration::from_secs(2)) }
    }
}

/// That there was no answer within `time`.
pub(super) fn late(time: Duration) -> String {
    format!("no answer within {} ms, which follows revocation.max_staleness", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_accepts_older_views_waits_longer() {
        let waits = |millis| {
            let Waits { connect, response, patient } = Waits::of(Duration::from_millis(millis));
            [connect, response, patient].map(|wait| wait.as_millis())
        };
        assert_eq!(waits(100), [600, 200, 2_000]);
        assert_eq!(waits(2_000), [999, 333, 2_000]);
        assert_eq!(waits(12_000), [6_000, 2_000, 8_000]);
        assert_eq!(waits(60_000), [15_000, 5_000, 20_000]);
    }
}
