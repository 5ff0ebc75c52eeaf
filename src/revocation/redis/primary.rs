//! Which server takes the writes: the one of the URL, the one that most sentinels name, or the node of the cluster that
//! holds hallpass's keys, which are all in one slot.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, ServerErrorKind};
use tokio::sync::Mutex;

use super::door::Door;
use super::waits::Waits;
use super::wire::{STATE, STOPS};
use super::words;
use crate::revocation::settings::{Address, Servers};

/// How often a node of a cluster may send on to another one.
const HOPS: usize = 4;

pub(super) struct Primary {
    servers: Servers,
    door: Door,
    waits: Waits,
    sentinels: Sentinels,
    /// Where the keys were last.
    last: Mutex<Option<Address>>,
}

impl Primary {
    pub(super) fn new(servers: Servers, door: Door, sentinels: Door, waits: Waits) -> Self {
        let asked = match &servers {
            Servers::Sentinels { addresses, service } => Sentinels {
                service: service.clone(),
                door: sentinels,
                waits,
                each: addresses.iter().map(|at| (at.clone(), Mutex::default())).collect(),
            },
            _ => Sentinels { service: String::new(), door: sentinels, waits, each: Vec::new() },
        };
        Self { servers, door, waits, sentinels: asked, last: Mutex::default() }
    }

    /// A connection to it, whose answers may take `response`, or why there is none: which server, and what is wrong.
    pub(super) async fn open(&self, response: Duration) -> Result<(Address, MultiplexedConnection), String> {
        match &self.servers {
            Servers::One(at) => self.open_at(at.clone(), response).await,
            Servers::Sentinels { .. } => self.open_at(self.sentinels.name_primary().await?, response).await,
            Servers::Cluster(nodes) => {
                let found = self.holder(nodes, response).await?;
                *self.last.lock().await = Some(found.0.clone());
                Ok(found)
            }
        }
    }

    async fn open_at(
        &self,
        at: Address,
        response: Duration,
    ) -> Result<(Address, MultiplexedConnection), String> {
        match self.door.open(&at, response).await {
            Ok(connection) => Ok((at, connection)),
            Err(why) => Err(self.introduce(&at, &why)),
        }
    }

    /// Another primary that the sentinels name instead of `before`. Nobody knows of one where they do not answer.
    pub(super) async fn replaced(&self, before: &Address) -> Option<Address> {
        if self.sentinels.each.is_empty() {
            return None;
        }
        self.sentinels.name_primary().await.ok().filter(|now| now != before)
    }

    /// What is wrong, behind the server and its role where the URL does not say which it is.
    pub(super) fn introduce(&self, at: &Address, why: &str) -> String {
        match &self.servers {
            Servers::One(_) => why.to_owned(),
            Servers::Sentinels { service, .. } => {
                format!("{at}, which the sentinels name as the primary of {service}: {why}")
            }
            Servers::Cluster(_) => format!("{at}, which holds hallpass's keys: {why}"),
        }
    }

    /// Asks every node that is known at once; the first that leads to the keys is enough.
    async fn holder(
        &self,
        nodes: &[Address],
        response: Duration,
    ) -> Result<(Address, MultiplexedConnection), String> {
        let last = self.last.lock().await.clone().filter(|last| !nodes.contains(last));
        let mut ways: FuturesUnordered<_> =
            last.iter().chain(nodes).map(|node| self.follow_moves(node.clone(), response)).collect();
        let mut troubles = Vec::new();
        while let Some(way) = ways.next().await {
            match way {
                Ok(found) => return Ok(found),
                Err(trouble) if troubles.contains(&trouble) => {}
                Err(trouble) => troubles.push(trouble),
            }
        }
        Err(format!("no node of the cluster leads to hallpass's keys: {}", troubles.join("; ")))
    }

    async fn follow_moves(
        &self,
        mut at: Address,
        response: Duration,
    ) -> Result<(Address, MultiplexedConnection), String> {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, TryAgain};
        for _ in 0..HOPS {
            let opened = self.door.open(&at, response).await;
            let connection = opened.map_err(|why| format!("{at}: {why}"))?;
            let mut question = redis::cmd("HGET");
            question.arg(STOPS).arg(STATE);
            let Err(err) = question.exec_async(&mut connection.clone()).await else {
                return Ok((at, connection));
            };
            match (err.kind(), err.redirect_node()) {
                (ErrorKind::Server(Moved), Some((next, _))) => {
                    at = moved_to(next, &at).ok_or_else(|| format!("{at}: moves the keys to nowhere"))?;
                }
                (ErrorKind::Server(Ask | BusyLoading | ClusterDown | MasterDown | TryAgain), _)
                | (ErrorKind::Io, _) => {
                    return Err(format!("{at}: {}", words::why(&err, self.waits.response)));
                }
                // It holds the keys, and whoever uses it learns what else is wrong.
                _ => return Ok((at, connection)),
            }
        }
        Err(format!("{at}: the nodes of the cluster do not agree on who holds the keys"))
    }
}

/// `host:port` of a redirection, whose host is empty where it is the one that was asked.
fn moved_to(next: &str, asked: &Address) -> Option<Address> {
    let (host, port) = next.rsplit_once(':')?;
    let host = if matches!(host, "" | "?") { asked.host.as_str() } else { host.trim_matches(['[', ']']) };
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

/// The sentinels, and a connection to each that was asked.
struct Sentinels {
    service: String,
    door: Door,
    waits: Waits,
    each: Vec<(Address, Mutex<Option<MultiplexedConnection>>)>,
}

/// What one sentinel says: the primary, and how new that is.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    epoch: u64,
    primary: Address,
}

impl Sentinels {
    /// Asks all at once. Of what more than half of them say, or all that answer in time, the newest counts: one that was
    /// cut off knows an old primary.
    async fn name_primary(&self) -> Result<Address, String> {
        let mut answers: FuturesUnordered<_> =
            self.each.iter().map(|(at, connection)| self.ask(at, connection)).collect();
        let (mut named, mut troubles) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => named.push(answer),
                Err(trouble) => troubles.push(trouble),
            }
            if named.len() > self.each.len() / 2 {
                break;
            }
        }
        let newest = named.into_iter().max_by_key(|named| named.epoch);
        newest.map(|named| named.primary).ok_or_else(|| {
            format!("no sentinel names the primary of {}: {}", self.service, troubles.join("; "))
        })
    }

    async fn ask(
        &self,
        at: &Address,
        connection: &Mutex<Option<MultiplexedConnection>>,
    ) -> Result<Named, String> {
        let mut kept = connection.lock().await;
        let trouble = |why: String| format!("sentinel {at}: {why}");
        let mut open = match kept.take() {
            Some(open) => open,
            None => self.door.open(at, self.waits.response).await.map_err(trouble)?,
        };
        let mut about = redis::cmd("SENTINEL");
        about.arg("MASTER").arg(&self.service);
        let about: Vec<(String, String)> =
            about.query_async(&mut open).await.map_err(|err| trouble(self.why(&err)))?;
        // Names the new primary already while the failover reconfigures the other replicas.
        let mut primary = redis::cmd("SENTINEL");
        primary.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let primary: Option<(String, u16)> =
            primary.query_async(&mut open).await.map_err(|err| trouble(self.why(&err)))?;
        *kept = Some(open);
        let epoch = about.iter().find(|(name, _)| name == "config-epoch");
        let epoch = epoch.and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(0);
        let (host, port) = primary.ok_or_else(|| trouble("it names none".to_owned()))?;
        Ok(Named { epoch, primary: Address { host, port } })
    }

    fn why(&self, err: &redis::RedisError) -> String {
        match (err.code(), err.detail()) {
            (Some("ERR"), Some(detail)) if detail.contains("No such master") => format!(
                "it watches nothing called {}: revocation.url ends in the name of `sentinel monitor`",
                self.service
            ),
            (Some("ERR"), Some(detail)) if detail.contains("unknown command") => {
                "it is no sentinel: revocation.url names sentinels, most often at port 26379".to_owned()
            }
            (Some("NOPERM"), _) => {
                "the user may not ask it: add +sentinel|master +sentinel|get-master-addr-by-name".to_owned()
            }
            _ => words::why(err, self.waits.response),
        }
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_a_node() {
        let asked = Address { host: "10.0.0.1".to_owned(), port: 7000 };
        for (text, host, port) in [
            ("10.0.0.2:7001", "10.0.0.2", 7001),
            (":7001", "10.0.0.1", 7001),
            ("?:7001", "10.0.0.1", 7001),
            ("fe80::1:7001", "fe80::1", 7001),
            ("node-2.example:7001", "node-2.example", 7001),
        ] {
            assert_eq!(moved_to(text, &asked), Some(Address { host: host.to_owned(), port }), "{text}");
        }
        for text in ["", "a", "a:", "a:x", "a:65536"] {
            assert_eq!(moved_to(text, &asked), None, "{text}");
        }
    }
}
