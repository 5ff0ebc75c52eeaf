//! A primary, a replica, and three real sentinels that watch them.

use std::time::{Duration, Instant};

use crate::support::redis::{Options, RedisServer};

pub(crate) const SERVICE: &str = "hallpass-main";

pub(crate) struct Watched {
    /// The first was the primary at the start.
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<RedisServer>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// With further lines in each sentinel's configuration.
    pub(crate) fn start_with(of_sentinels: &str) -> Self {
        let servers = [(); 2].map(|()| RedisServer::start());
        let primary = servers[0].port.to_string();
        servers[1].command::<()>(&["REPLICAOF", "127.0.0.1", &primary]);
        wait("a replica", || servers[0].info("replication").contains("state=online"));
        let config = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n{of_sentinels}"
        );
        let options = || Options { sentinel: true, config: config.clone(), ..Options::default() };
        let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_with(options())).collect();
        Self { servers, sentinels }
    }

    /// Until they know each other and the replica.
    pub(crate) fn wait_until_ready(&self) {
        for sentinel in &self.sentinels {
            wait("sentinels that know each other", || {
                let known = sentinel.info("sentinel");
                known.contains("slaves=1,sentinels=3")
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// From now on the replica hears nothing of what the primary is told.
    pub(crate) fn stop_replication(&self) {
        self.servers[0].command::<()>(&["ACL", "SETUSER", "default", "-psync", "-sync", "-replconf"]);
        self.servers[0].command::<i64>(&["CLIENT", "KILL", "TYPE", "replica"]);
        wait("a replica that is cut off", || {
            self.servers[1].info("replication").contains("master_link_status:down")
        });
    }

    pub(crate) fn wait_for_failover(&self) {
        wait("a failover", || self.servers[1].info("replication").contains("role:master"));
    }
}

pub(crate) fn wait(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
