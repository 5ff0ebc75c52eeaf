//! One refill at a time. Whoever finds that the authority forgot wants it refilled; the follower's task alone does it, for
//! all of them. A refill is never broken off with the request that wanted it, and no two void each other's parts.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::Redis;
use super::link::RETRY;
use crate::revocation::Source;

/// A refill that took longer is told in the log.
const LONG: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Refills {
    wanted: Notify,
    state: watch::Sender<Refill>,
}

#[derive(Debug, Default)]
struct Refill {
    /// When the one began that is under way.
    begun: Option<Instant>,
    failures: u64,
}

impl Refills {
    /// Those who wait look again.
    pub(super) fn tell(&self) {
        self.state.send_modify(|_| {});
    }
}

impl Redis {
    /// Whether the authority may be asked, which is waited for no longer than `patience` after a refill began.
    pub(in crate::revocation) async fn refilled(&self, patience: Duration) -> bool {
        let mut state = self.refills.state.subscribe();
        let (begun, failures) = {
            let now = state.borrow_and_update();
            (now.begun.unwrap_or_else(Instant::now), now.failures)
        };
        self.refills.wanted.notify_one();
        let settled = state.wait_for(|now| self.is_trusted() || now.failures != failures);
        let left = patience.saturating_sub(begun.elapsed());
        tokio::time::timeout(left, settled).await.is_ok() && self.is_trusted()
    }

    fn is_trusted(&self) -> bool {
        self.link.session().is_ok_and(|session| self.trusted(&session).is_ok())
    }

    /// Refills whenever somebody wants it.
    pub(super) async fn refill_for_ever(&self, source: &impl Source) -> Infallible {
        loop {
            self.refills.wanted.notified().await;
            if self.is_trusted() {
                continue;
            }
            let begun = Instant::now();
            self.refills.state.send_modify(|now| now.begun = Some(begun));
            let pushed = self.push_or_take_over(source).await;
            self.refills.state.send_modify(|now| {
                now.begun = None;
                now.failures += u64::from(pushed.is_err());
            });
            match pushed {
                Ok(()) if begun.elapsed() > LONG => {
                    tracing::info!(millis = begun.elapsed().as_millis(), "Redis is refilled from the store");
                }
                Ok(()) => {}
                Err(err) => {
                    tracing::debug!(error = %err, "Redis cannot be refilled");
                    tokio::time::sleep(RETRY[0]).await;
                }
            }
        }
    }
}
