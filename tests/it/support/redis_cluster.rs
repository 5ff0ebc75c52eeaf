//! A real cluster of three primaries, and a replica of the one that holds hallpass's keys.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::process::Command;

use crate::support::redis::{Options, RedisServer};
use crate::support::sentinel::wait;

pub(crate) struct RedisCluster {
    /// Three primaries, and the replica of [`Self::holder`].
    pub(crate) nodes: Vec<RedisServer>,
    pub(crate) slot: String,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let node = || RedisServer::start_with(Options { cluster: true, ..Options::default() });
        let nodes: Vec<_> = (0..4).map(|_| node()).collect();
        let addresses: Vec<_> = nodes[..3].iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes");
        let made = create.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        for node in &nodes[..3] {
            wait("the cluster", || node.command::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
        }
        let slot = nodes[0].command::<u16>(&["CLUSTER", "KEYSLOT", "{revocation}"]).to_string();
        let cluster = Self { nodes, slot };
        let replica = &cluster.nodes[3];
        replica.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &cluster.nodes[0].port.to_string()]);
        let holder = &cluster.nodes[cluster.holder()];
        let id = holder.cluster_id();
        wait("the replica's place", || replica.try_command(&["CLUSTER", "REPLICATE", &id]).is_ok());
        wait("a replica", || holder.info("replication").contains("state=online"));
        // A node that does not know the replica yet would not vote for it.
        for node in &cluster.nodes {
            wait("the word of the replica", || {
                let known: String = node.command(&["CLUSTER", "NODES"]);
                known.lines().any(|line| line.contains("slave") && line.contains(&id))
            });
        }
        cluster
    }

    /// Which node holds hallpass's keys.
    pub(crate) fn holder(&self) -> usize {
        let holds =
            |node: &RedisServer| node.try_command(&["HGET", "hallpass:{revocation}:stops", "state"]).is_ok();
        self.nodes.iter().position(holds).expect("a node that holds the slot")
    }

    /// Of these nodes alone; they know the others.
    pub(crate) fn url_of(&self, nodes: &[usize]) -> String {
        let hosts: Vec<_> = nodes.iter().map(|n| format!("127.0.0.1:{}", self.nodes[*n].port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

impl RedisServer {
    pub(crate) fn cluster_id(&self) -> String {
        self.command(&["CLUSTER", "MYID"])
    }
}
