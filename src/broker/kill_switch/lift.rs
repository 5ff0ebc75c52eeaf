//! Lifting a stop: in the store first, then everywhere.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::{Audited, Change, KillSwitch};
use crate::domain::event::Event;
use crate::domain::id::StopId;
use crate::domain::revocation::{Lift, Target};
use crate::store::{LiftOutcome, StoreError};

/// How long a lift waits for the store to write it. A disk that stalls reports no error, for minutes.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why a stop was not lifted, as far as can be told.
#[derive(Debug, thiserror::Error)]
pub(in crate::broker) enum LiftError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stop that the store has not numbered outranks every lift, so nothing was lifted.
    #[error("a stop of {0} waits for the store")]
    Waits(Target),
    /// The store may write it later.
    #[error("the store does not answer")]
    Unanswered,
}

impl KillSwitch {
    /// Ends a stop. Tokens that were decided before it stay dead.
    pub(in crate::broker) async fn lift(
        self: &Arc<Self>,
        id: StopId,
        lift: Lift,
        event: Event,
    ) -> Result<(LiftOutcome, Option<Change>), LiftError> {
        self.lift_knowing(id, lift, event, None).await
    }

    /// Ends a stop whose time is over by the first `known` events of the log.
    pub(in crate::broker) async fn lift_at_end(
        self: &Arc<Self>,
        id: StopId,
        lift: Lift,
        event: Event,
        known: u64,
    ) -> Result<LiftOutcome, LiftError> {
        Ok(self.lift_knowing(id, lift, event, Some(known)).await?.0)
    }

    async fn lift_knowing(
        self: &Arc<Self>,
        id: StopId,
        lift: Lift,
        event: Event,
        known: Option<u64>,
    ) -> Result<(LiftOutcome, Option<Change>), LiftError> {
        // A stop that the store has not heard of cannot be lifted in it.
        if self.waiting() > 0 {
            let _in_time = tokio::time::timeout(PATIENCE, self.unjournaled.wait_for_landings()).await;
            self.journal_waiting().await;
            self.refuse_if_waiting(id).await?;
        }
        let lifted = self.write_lift(id, lift, event, known).await?;
        let change = match &lifted {
            LiftOutcome::Now(stop) => Some(self.spread(stop.clone(), Audited::Recorded).await),
            _ => None,
        };
        Ok((lifted, change))
    }

    /// The target would go on being stopped, whatever the store says of the lift.
    async fn refuse_if_waiting(&self, id: StopId) -> Result<(), LiftError> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let target = match self.unjournaled.of(id) {
            Some(waiting) => waiting.target,
            None => match tokio::time::timeout(PATIENCE, self.store.stop_of(id)).await {
                Ok(Ok(Some(stop))) => stop.target,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(StoreError::Busy.into()),
            },
        };
        match self.unjournaled.book().unnumbered_of(&target) {
            Some(_) => Err(LiftError::Waits(target)),
            None => Ok(()),
        }
    }

    /// The store ends what it has begun, whoever waits for it. Every node learns of a late lift all the same.
    async fn write_lift(
        self: &Arc<Self>,
        id: StopId,
        lift: Lift,
        event: Event,
        known: Option<u64>,
    ) -> Result<LiftOutcome, LiftError> {
        let switch = Arc::clone(self);
        let write = async move { switch.store.lift_knowing(id, lift, event, known).await };
        let mut writing = tokio::spawn(write.in_current_span());
        if let Ok(written) = tokio::time::timeout(PATIENCE, &mut writing).await {
            return Ok(written.unwrap_or(Err(StoreError::Closed))?);
        }
        tracing::error!(stop = %id, "the store stalls: a lift may take effect later");
        let switch = Arc::clone(self);
        let late = async move {
            if matches!(writing.await, Ok(Ok(LiftOutcome::Now(_)))) {
                tracing::warn!(stop = %id, "a lift on which the store stalled took effect");
                if let Err(error) = switch.refill().await {
                    tracing::warn!(%error, "kill switch not reached; the store holds the lift");
                }
            }
        };
        tokio::spawn(late.in_current_span());
        Err(LiftError::Unanswered)
    }
}
