//! Asking who has applied a change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Redis;
use super::link::Session;
use super::roster::Report;
use super::wire::SEEN;
use crate::domain::id::BrokerName;
use crate::revocation::{Applied, Confirmations, RevocationError};

/// Between two looks at the reports.
const LOOK: Duration = Duration::from_millis(10);
/// A node that lives reports at least twice a second.
const TWO_BEATS: Duration = Duration::from_millis(1_100);

impl Redis {
    pub(crate) async fn confirmations(
        &self,
        applied: &Applied,
        patience: Duration,
    ) -> Result<Confirmations, RevocationError> {
        let started = Instant::now();
        let mut heard = HashMap::new();
        loop {
            let session = self.link.session()?;
            // A Redis that took over may have lost the push, and may since have got as far by another.
            if applied.revision.is_none() && session.number != applied.session {
                return Err(RevocationError::Amnesia);
            }
            let reports = self.reports(&session).await?;
            let now = Instant::now();
            self.roster.hear(reports, now)?;
            let answer = self.roster.confirmations(&self.node, Some(applied), now);
            for node in &answer.confirmed {
                heard.entry(node.clone()).or_insert(now);
            }
            let left = patience.saturating_sub(started.elapsed());
            if answer.pending.is_empty() || left.is_zero() {
                return Ok(Confirmations { heard, ..answer });
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }

    pub(crate) fn unconfirmed(&self) -> Confirmations {
        self.roster.confirmations(&self.node, None, Instant::now())
    }

    /// The nodes that work on another opening of the store and are alive: a copy of the store is in use beside it. Takes
    /// as long as two of their reports.
    pub(crate) async fn other_copies(&self, instance: &str) -> Result<Vec<BrokerName>, RevocationError> {
        let before = self.reports(&self.link.session()?).await?;
        tokio::time::sleep(TWO_BEATS + self.link.waits.response).await;
        let moved = |(name, text): (String, String)| {
            let other = Report::parse(&text)?.instance != instance && before.get(&name) != Some(&text);
            if other { name.parse().ok() } else { None }
        };
        Ok(self.reports(&self.link.session()?).await?.into_iter().filter_map(moved).collect())
    }

    async fn reports(&self, session: &Arc<Session>) -> Result<HashMap<String, String>, RevocationError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(SEEN);
        command.query_async(&mut session.connection()).await.map_err(|err| self.failed(session, &err))
    }
}
