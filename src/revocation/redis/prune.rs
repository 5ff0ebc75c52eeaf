//! Removes from the authority what can tell nothing any more, or it would keep every token that an agent
//! ever ended (RFC 7009). Views drop the same by themselves.
//!
//! Lifts of anything but a token stay: a broker that was cut off since before the lift pours the stop
//! again when it is back, and only the later lift outdoes it. They are no more than was ever registered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use redis::Script;

use super::merge::{PART, REFILL};
use super::seen::redis_time;
use super::wire::{LINEAGE, STOPS};
use super::{Redis, meaning, wire};
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;
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
        let mut connection = self.link.open(REFILL).await.map_err(RevocationError::Unreachable)?;
        let mut pipe = redis::pipe();
        pipe.cmd("HGETALL").arg(STOPS).cmd("TIME");
        let (stops, time): (HashMap<String, String>, (i64, i64)) =
            pipe.query_async(&mut connection).await.map_err(|err| meaning(&err))?;
        // By both clocks: one broker's that is wrong must not take from all of them.
        let spent = spent(&stops, self.clock.now().min(redis_time(time)))?;

        let script = Script::new(include_str!("prune.lua"));
        let mut removed = 0;
        for part in spent.chunks(PART) {
            let mut call = script.prepare_invoke();
            call.key(STOPS);
            for (field, text) in part {
                call.arg(*field).arg(*text);
            }
            removed += call.invoke_async::<u64>(&mut connection).await.map_err(|err| meaning(&err))?;
        }
        Ok(removed)
    }
}

/// The fields to remove, with what they hold. One that cannot be read makes the whole unreadable.
fn spent(
    stops: &HashMap<String, String>,
    now: Timestamp,
) -> Result<Vec<(&String, &String)>, RevocationError> {
    let mut spent = Vec::new();
    for (field, text) in stops.iter().filter(|(field, _)| *field != LINEAGE) {
        let (target, standing) = wire::stored(field, text)?;
        if matches!(target, Target::Token(_)) && standing.is_spent(&target, now) {
            spent.push((field, text));
        }
    }
    Ok(spent)
}
