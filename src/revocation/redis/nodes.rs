//! What the nodes tell of themselves, for people.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Redis;
use super::wire::NODES;
use crate::revocation::RevocationError;

impl Redis {
    pub(crate) async fn exchange_facts(
        &self,
        facts: &str,
    ) -> Result<HashMap<String, String>, RevocationError> {
        let session = self.link.session()?;
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(NODES).arg(self.node.as_str()).arg(facts).ignore();
        pipe.cmd("HGETALL").arg(NODES);
        let answer: Result<(HashMap<String, String>,), _> = pipe.query_async(&mut session.connection()).await;
        answer.map(|(facts,)| facts).map_err(|err| self.failed(&session, &err))
    }

    pub(crate) async fn forget_facts(&self, nodes: &[String]) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        let mut command = redis::cmd("HDEL");
        command.arg(NODES).arg(nodes);
        command.exec_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }

    /// How long a PING takes.
    pub(crate) async fn latency(&self) -> Result<Duration, RevocationError> {
        let session = self.link.session()?;
        let asked = Instant::now();
        let ping = redis::cmd("PING").exec_async(&mut session.connection()).await;
        ping.map(|()| asked.elapsed()).map_err(|err| self.failed(&session, &err))
    }
}
