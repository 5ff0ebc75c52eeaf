//! Journaling the stops that took effect while the store was down.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::KillSwitch;
use crate::domain::id::StopId;
use crate::domain::revocation::Target;
use crate::store::WaitingChange;

/// Stops that are journaled at once, when the store is back.
const TOGETHER: usize = 256;

/// How long anybody waits for that. A disk that stalls reports no error, for minutes.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long anybody waits for their file, which goes on being written.
const FILE_PATIENCE: Duration = Duration::from_secs(1);

impl KillSwitch {
    /// Journals the stops that took effect while the store was down, and tells the authority their numbers. One call at a
    /// time does, and goes on where the store takes longer than anybody waits.
    pub(in crate::broker) async fn journal_waiting(self: &Arc<Self>) {
        let switch = Arc::clone(self);
        let journaled = async move {
            let turn = Arc::clone(&switch.journaling).lock_owned().await;
            let journaling = async move {
                switch.journal_all().await;
                drop(turn);
            };
            // An error is a panic, which was logged.
            let _ended = tokio::spawn(journaling.in_current_span()).await;
        };
        if tokio::time::timeout(PATIENCE, journaled).await.is_err() {
            tracing::error!(
                "the store stalls: the stops that wait for it are in effect, and not journaled yet"
            );
        }
    }

    async fn journal_all(&self) {
        let mut journaled = Vec::new();
        let waiting = self.unjournaled.to_journal();
        // Many share a commit; what operators stopped goes first.
        let (ends, stops): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| waiting.ended);
        for part in stops.chunks(TOGETHER).chain(ends.chunks(TOGETHER)) {
            let done =
                futures_util::future::join_all(part.iter().cloned().map(|stop| self.journal(stop))).await;
            let failed = done.iter().any(Option::is_none);
            journaled.extend(done.into_iter().flatten());
            if failed {
                break;
            }
        }
        if journaled.is_empty() {
            self.save_waiting().await;
            return;
        }
        self.forget_journaled(journaled).await;
    }

    /// These have their numbers now.
    pub(super) async fn forget_journaled(&self, journaled: Vec<(Target, StopId)>) {
        let ids: HashSet<StopId> = journaled.iter().map(|(_, id)| *id).collect();
        if let Err(error) = self.unjournaled.forget(&ids).await {
            tracing::error!(%error, "the file of stops that waited for the store names some that are journaled");
        }
        // Only now: a push that still found them among those that wait would give them back to the authority.
        for (target, id) in journaled {
            self.revocation.note_numbered(target, id);
        }
        if let Err(error) = self.refill().await {
            tracing::warn!(%error, "kill switch not reached; the store holds the stops");
        }
    }

    /// Writes the stops that wait for the store to their file, where some are in none yet.
    pub(in crate::broker) async fn save_waiting(&self) {
        if self.unjournaled.unwritten() == 0 {
            return;
        }
        let saved = tokio::time::timeout(FILE_PATIENCE, self.unjournaled.save()).await;
        if matches!(saved, Ok(Ok(()))) {
            tracing::info!("the stops that wait for the store are in a file now");
        }
    }

    /// Keeps room on the disk for stops, once nothing waits any more.
    pub(in crate::broker) async fn keep_room(&self) {
        self.unjournaled.keep_room().await;
    }

    /// Gives one stop that waits its number; none where the store still cannot.
    async fn journal(&self, waiting: WaitingChange) -> Option<(Target, StopId)> {
        let (id, target) = (waiting.stop.id, waiting.stop.target.clone());
        match self.record(waiting).await {
            Ok(_) => {
                tracing::info!(stop = %id, %target, "a stop that waited for the store is journaled");
                Some((target, id))
            }
            Err(error) => {
                tracing::warn!(%error, stop = %id, "a stop still waits for the store");
                None
            }
        }
    }
}
