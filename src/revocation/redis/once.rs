//! Which proofs were used, on every broker of one Redis.
//!
//! Each broker remembers in its own memory what it used up, by agent, and asks Redis about what it does not know.
//! So an agent has no more keys in Redis than each broker remembers for one, and a Redis that was emptied or
//! whose clock jumped lets no broker take a proof twice.

use super::Redis;
use super::wire::ONCE;
use crate::domain::digest::Digest;
use crate::domain::id::AgentId;
use crate::domain::time::Timestamp;
use crate::revocation::RevocationError;
use crate::revocation::once::Moment;

impl Redis {
    pub(in crate::revocation) async fn use_once(
        &self,
        agent: &AgentId,
        key: Digest,
        until: Timestamp,
    ) -> Result<bool, RevocationError> {
        let now = Moment::now(&self.clock);
        if !self.once.use_up(agent, key, until, now)? {
            return Ok(false);
        }
        let marked = self.mark(agent, key, until.since(now.wall).as_millis()).await;
        if marked.is_err() {
            // Nothing is known of it, so it is refused, and whoever sent it may send it again.
            self.once.forget(agent, &key);
        }
        marked
    }

    async fn mark(&self, agent: &AgentId, key: Digest, millis: u128) -> Result<bool, RevocationError> {
        let session = self.link.session()?;
        let mut command = redis::cmd("SET");
        command.arg(format!("{ONCE}{agent}:{key}")).arg(1).arg("NX").arg("PX").arg(millis.to_string());
        let set: Option<String> = command
            .query_async(&mut session.connection())
            .await
            .map_err(|err| self.failed(&session, &err))?;
        Ok(set.is_some())
    }
}
