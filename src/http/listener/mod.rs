//! The accept loop of both listeners: bounded connections, each with its deadlines, and a graceful end.
//!
//! The loop itself waits for nobody: handshakes and requests are in the connection's own task. What a
//! connection may do without being useful is in [`Patience`].

mod connection;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::http::tls::Tls;
use connection::Server;

/// Connections that one listener serves at once; more wait in the backlog.
const MAX_CONNECTIONS: u32 = 8192;
/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
/// After a failed accept, such as «too many open files».
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection is waited for. The handshake of TLS has its own time before this.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the head of a request to arrive, and for an idle connection of HTTP/1.1.
    header: Duration,
    /// Without a request that arrives or a piece of an answer that is taken: longer than any handler needs.
    /// Ends clients that stop reading, whether they do so in TCP or in HTTP/2.
    stall: Duration,
    /// After the order to stop, for requests in flight.
    grace: Duration,
}

impl Patience {
    const USUAL: Self = Self {
        header: Duration::from_secs(15),
        stall: Duration::from_secs(60),
        grace: Duration::from_secs(10),
    };
}

/// Serves `router` until `shutdown` is true and what was in flight is answered; over TLS where `tls` is given.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    shutdown: watch::Receiver<bool>,
) {
    serve_with(Patience::USUAL, listener, tls, router, shutdown).await;
}

async fn serve_with(
    patience: Patience,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let server = Arc::new(Server { http: http(patience), router, patience, stopping: shutdown.clone() });
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer, slot)) = accepted else { continue };
        let server = Arc::clone(&server);
        match &tls {
            None => tokio::spawn(async move {
                server.converse(stream, peer.ip(), None).await;
                drop(slot);
            }),
            Some(tls) => {
                let tls = Arc::clone(tls);
                tokio::spawn(async move {
                    server.converse_securely(&tls, stream, peer.ip()).await;
                    drop(slot);
                })
            }
        };
    }
    drop(listener);
    // Each connection ends itself within the grace; the second is for the last of them.
    let ended = slots.acquire_many(MAX_CONNECTIONS);
    if tokio::time::timeout(patience.grace + Duration::from_secs(1), ended).await.is_err() {
        tracing::warn!("connections are still open after {:?}", patience.grace);
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn http(patience: Patience) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        // Without a timer the time-out does nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.header)
        .keep_alive_timeout(patience.header)
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(256);
    server
}
