//! The two listeners: their addresses, what their callers may take, and what they serve.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::descriptors;
use crate::config::Config;
use crate::http::listener::{self, Manner, Room};
use crate::http::proxies::Proxies;
use crate::http::tls::Tls;
use crate::http::{Reachable, admin, public};

/// Both, bound and not yet served.
pub(super) struct Listeners {
    public: TcpListener,
    public_room: Arc<Room>,
    admin: TcpListener,
    admin_room: Arc<Room>,
    admin_connections: usize,
    idle: Duration,
    proxies: Arc<Proxies>,
}

impl Listeners {
    /// Binds both, the public one on `threads`, and shares the file descriptors between them.
    pub(super) async fn bind(threads: &Handle, config: &Config) -> anyhow::Result<Self> {
        let shares = descriptors::share(&config.public_limits);
        let (public_room, admin_room) = (Room::new(shares.public), Room::for_operators(shares.admin));
        let admin_connections = shares.admin.connections;
        let public = threads.spawn(bind(config.server.listen, "server.listen")).await??;
        let admin = bind(config.admin.listen, "admin.listen").await?;
        let (idle, proxies) = (config.public_limits.idle, Arc::new(config.server.proxies.clone()));
        Ok(Self { public, public_room, admin, admin_room, admin_connections, idle, proxies })
    }

    /// What callers of the public listener may take, and have taken.
    pub(super) fn public_room(&self) -> Arc<Room> {
        Arc::clone(&self.public_room)
    }

    /// Where they are bound: the public one, the admin one.
    pub(super) fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.admin.local_addr()?))
    }

    /// Serves both until `stopping`, the public one on `threads`.
    pub(super) fn serve(
        self,
        threads: &Handle,
        public_tls: Option<Arc<Tls>>,
        admin_tls: Option<Arc<Tls>>,
        gate: Arc<Reachable>,
        stopping: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let Self { public, public_room, admin, admin_room, admin_connections, idle, proxies } = self;
        let for_agents = Manner { tls: public_tls, room: public_room, idle, proxies };
        let for_operators = Manner { tls: admin_tls, room: admin_room, idle, proxies: Arc::default() };
        let open = public::router(Arc::clone(&gate));
        vec![
            threads.spawn(listener::serve(public, for_agents, open, stopping.clone())),
            tokio::spawn(listener::serve(
                admin,
                for_operators,
                admin::router(gate, admin_connections),
                stopping.clone(),
            )),
        ]
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> anyhow::Result<TcpListener> {
    let bound = listener::bind(address).await;
    bound.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "is another broker running?",
            ErrorKind::AddrNotAvailable => {
                "it is not an address of this host: write one that is, or 0.0.0.0 or [::] for all of them"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a right (CAP_NET_BIND_SERVICE): write another port"
            }
            _ => "see the cause",
        };
        anyhow::Error::new(error).context(format!("{key}: {address} cannot be bound; {remedy}"))
    })
}
