//! Which assertions were used, where one broker remembers it alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::digest::Digest;
use crate::domain::time::Timestamp;
use crate::revocation::RevocationError;

/// At most 16 MiB. Assertions live 5 minutes, so this is 870 a second, each one signed by a registered key; DPoP
/// proofs are kept 70 seconds, and come from agents within their rate.
const CAPACITY: usize = 1 << 18;
/// A full memory is searched for expired entries no more often than this.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Used>);

#[derive(Debug)]
struct Used {
    until: HashMap<Digest, Timestamp>,
    /// The size at which expired entries are dropped: twice what was left the last time.
    prune_at: usize,
    pruned: Option<Timestamp>,
}

impl Default for Used {
    fn default() -> Self {
        Self { until: HashMap::new(), prune_at: 1024, pruned: None }
    }
}

impl Once {
    /// True the first time, false when `until` is over. Forgets none before its time: a full memory is an error.
    pub(super) fn use_up(
        &self,
        key: Digest,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, RevocationError> {
        if until <= now {
            return Ok(false);
        }
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.until.get(&key).is_some_and(|until| now < *until) {
            return Ok(false);
        }
        if used.until.len() >= used.prune_at {
            used.prune(now);
        }
        if used.until.len() >= CAPACITY {
            return Err(RevocationError::Full);
        }
        used.until.insert(key, until);
        Ok(true)
    }
}

impl Used {
    fn prune(&mut self, now: Timestamp) {
        let full = self.until.len() >= CAPACITY;
        if full && self.pruned.is_some_and(|at| at <= now && now.since(at) < PRUNE_EVERY) {
            return;
        }
        self.pruned = Some(now);
        self.until.retain(|_, until| now < *until);
        self.prune_at = (self.until.len() * 2).clamp(1024, CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    #[test]
    fn a_full_memory_refuses_until_something_expires() {
        let once = Once::default();
        let at = Timestamp::from_seconds;
        for n in 0..CAPACITY {
            assert_eq!(once.use_up(key(n), at(if n == 7 { 50 } else { 100 }), at(0)), Ok(true));
        }
        assert_eq!(once.use_up(key(CAPACITY), at(100), at(49)), Err(RevocationError::Full));
        assert_eq!(once.use_up(key(3), at(100), at(49)), Ok(false), "what is known is still refused");
        assert_eq!(once.use_up(key(CAPACITY), at(100), at(51)), Ok(true), "one expired");
        assert_eq!(once.use_up(key(CAPACITY + 1), at(200), at(101)), Ok(true), "all expired");
        assert_eq!(once.0.lock().unwrap().until.len(), 1);
    }
}
