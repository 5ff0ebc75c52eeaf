//! Removes from the authority what is spent, or it would keep every token that an agent ever ended (RFC 7009). Views drop
//! the same by themselves.
//!
//! What is spent is told by the floor alone: a revision below which every token has expired, by the time that a node has
//! itself seen pass. No clock of any machine decides it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use redis::Script;

use super::Redis;
use super::push::PART;
use super::wire::{Item, STATE, STOPS};
use crate::domain::revocation::Revision;
use crate::revocation::RevocationError;

const EVERY: Duration = Duration::from_secs(3600);
/// What a new connection must have lasted, so that one that breaks again and again costs no pruning.
const SETTLED: Duration = Duration::from_secs(1);

impl Redis {
    pub(super) async fn prune_for_ever(&self) -> Infallible {
        tokio::time::sleep(SETTLED).await;
        loop {
            match self.prune().await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "spent stops were removed from Redis"),
                Err(err) => tracing::warn!(error = %err, "spent stops cannot be removed from Redis"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Over a connection of its own: a long answer must keep neither issuance nor the follower waiting.
    async fn prune(&self) -> Result<u64, RevocationError> {
        let (_, mut connection) =
            self.link.open(self.link.waits.patient).await.map_err(RevocationError::Unreachable)?;
        // The authority's own: whoever asks it must learn that what is removed here is dead.
        let floor = self.state(&mut connection).await?.map_or(Revision::ZERO, |state| state.floor);
        if floor == Revision::ZERO {
            return Ok(0);
        }
        let script = Script::new(include_str!("prune.lua"));
        let (mut removed, mut cursor) = (0, 0u64);
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(STOPS).arg(cursor).arg("COUNT").arg(PART);
            let (next, fields): (u64, HashMap<String, String>) = scan
                .query_async(&mut connection)
                .await
                .map_err(|err| self.meaning(&err, self.link.waits.patient))?;
            let mut call = script.prepare_invoke();
            call.key(STOPS);
            let mut some = false;
            for (field, value) in fields.iter().filter(|(field, _)| *field != STATE) {
                if is_spent(&Item::decode(field, value)?, floor) {
                    some = true;
                    call.arg(field).arg(value);
                }
            }
            if some {
                removed += call
                    .invoke_async::<u64>(&mut connection)
                    .await
                    .map_err(|err| self.meaning(&err, self.link.waits.patient))?;
            }
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }
}

fn is_spent(item: &Item, floor: Revision) -> bool {
    matches!(item, Item::Standing(target, standing) if standing.is_spent(target, floor))
}
