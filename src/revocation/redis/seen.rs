//! Asking who has applied a change.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Redis;
use super::wire::SEEN;
use crate::revocation::{Applied, Confirmations, RevocationError};

/// Between two looks at the reports.
const LOOK: Duration = Duration::from_millis(10);

impl Redis {
    pub(crate) async fn confirmations(
        &self,
        applied: &Applied,
        patience: Duration,
    ) -> Result<Confirmations, RevocationError> {
        let started = Instant::now();
        loop {
            let session = self.link.session()?;
            let mut command = redis::cmd("HGETALL");
            command.arg(SEEN);
            let reports: HashMap<String, String> = command
                .query_async(&mut session.connection())
                .await
                .map_err(|err| self.failed(&session, &err))?;
            let now = Instant::now();
            self.roster.hear(reports, now)?;
            let answer = self.roster.confirmations(&self.node, Some(applied), now);
            let left = patience.saturating_sub(started.elapsed());
            if answer.pending.is_empty() || left.is_zero() {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }

    pub(crate) fn unconfirmed(&self) -> Confirmations {
        self.roster.confirmations(&self.node, None, Instant::now())
    }
}
