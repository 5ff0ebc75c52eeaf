//! The two listeners: their addresses, what their callers may take, and what they serve.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::descriptors;
use crate::config::Config;
use crate::http::listener::{self, Room};
use crate::http::tls::Tls;
use crate::http::{Reachable, admin, public};

/// Both, bound and not yet served.
pub(super) struct Listeners {
    public: TcpListener,
    public_room: Arc<Room>,
    admin: TcpListener,
    admin_room: Arc<Room>,
}

impl Listeners {
    /// Binds both, the public one on `threads`, and shares the file descriptors between them.
    pub(super) async fn bind(threads: &Handle, config: &Config) -> anyhow::Result<Self> {
        let shares = descriptors::share(&config.public_limits);
        let (public_room, admin_room) = (Room::new(shares.public), Room::for_operators(shares.admin));
        let public = threads.spawn(bind(config.server.listen, "server.listen")).await??;
        let admin = bind(config.admin.listen, "admin.listen").await?;
        Ok(Self { public, public_room, admin, admin_room })
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
        let Self { public, public_room, admin, admin_room } = self;
        let open = public::router(Arc::clone(&gate));
        vec![
            threads.spawn(listener::serve(public, public_tls, public_room, open, stopping.clone())),
            tokio::spawn(listener::serve(
                admin,
                admin_tls,
                admin_room,
                admin::router(gate),
                stopping.clone(),
            )),
        ]
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> anyhow::Result<TcpListener> {
    let bound = listener::bind(address).await;
    bound.with_context(|| format!("{key}: {address} cannot be bound; is another broker running?"))
}
