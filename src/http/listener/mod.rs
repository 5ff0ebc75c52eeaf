//! The accept loop of both listeners: bounded connections, each with its deadlines, and a graceful end.
//!
//! The loop waits for room and for nothing else: handshakes and requests are in the connection's own task. What all
//! connections may hold together is in [`Room`], what one may do without being useful in [`Patience`].

mod activity;
mod connection;
mod counted;
mod greeting;
mod metrics;
mod room;
mod spoken;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::http::proxies::Proxies;
use crate::http::tls::Tls;
use crate::telemetry::Seldom;
use connection::Server;
pub use metrics::register as register_metrics;
pub(in crate::http) use room::Full;
pub use room::Room;

/// Connections that wait until there is room. The system may allow less (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;
/// Requests that one connection of HTTP/2 may have open at once. Clients send as many before they are told how many
/// they may (RFC 9113 §6.5.2); with fewer their first requests would be refused.
const MAX_STREAMS: u32 = 100;
/// Bytes that one connection of HTTP/2, or one of its requests, may send before they are read.
const WINDOW: u32 = 64 * 1024;
/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
/// Bytes of a request's body. What comes after them is dropped as it arrives, so it is not counted as held.
pub(in crate::http) const MAX_BODY: usize = 64 * 1024;
/// After a failed accept, such as «too many open files».
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two lines about what strangers or a lack of file descriptors can cause again and again.
const LINES: Duration = Duration::from_secs(60);

/// How long a connection is waited for. The handshake of TLS has its own time before this.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the head of a request to arrive, from its first byte on; the first one from the connection's begin on.
    header: Duration,
    /// Between two requests.
    idle: Duration,
    /// For a request without a piece of its answer that is taken: longer than any handler needs.
    /// Ends clients that stop reading, whether they do so in TCP or in HTTP/2.
    stall: Duration,
    /// After the order to stop, for requests in flight.
    grace: Duration,
}

impl Patience {
    fn usual(idle: Duration) -> Self {
        let [header, stall, grace] = [15, 60, 10].map(Duration::from_secs);
        Self { header, idle, stall, grace }
    }
}

/// Binds `address` on the runtime that is to serve it.
///
/// # Errors
/// When the address is not free.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What a listener serves with.
#[derive(Debug)]
pub struct Manner {
    /// None: plain http.
    pub tls: Option<Arc<Tls>>,
    pub room: Arc<Room>,
    /// A connection without a request is closed after this time.
    pub idle: Duration,
    pub proxies: Arc<Proxies>,
}

/// Serves `router` until `shutdown` is true and what was in flight is answered.
pub async fn serve(listener: TcpListener, manner: Manner, router: Router, shutdown: watch::Receiver<bool>) {
    serve_with(Patience::usual(manner.idle), listener, manner, router, shutdown).await;
}

async fn serve_with(
    patience: Patience,
    listener: TcpListener,
    manner: Manner,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let Manner { tls, room, proxies, .. } = manner;
    let (stopping, strange) = (shutdown.clone(), Seldom::every(LINES));
    let server = Server { http: http(patience), tls, room, proxies, router, patience, stopping, strange };
    let (server, refused) = (Arc::new(server), Seldom::every(LINES));
    let room = &server.room;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, room, &refused) => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer)) = accepted else { continue };
        // Without a seat the connection is closed.
        let seat = if server.proxies.trusts(peer) { Some(room.take_shared(peer)) } else { room.take(peer) };
        let Some(seat) = seat else { continue };
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.serve(stream, peer, seat).await });
    }
    drop(listener);
    // Each connection ends itself within the grace; the second is for the last of them.
    if tokio::time::timeout(patience.grace + Duration::from_secs(1), room.emptied()).await.is_err() {
        tracing::warn!("connections are still open after {:?}", patience.grace);
    }
}

/// The next connection and the address it comes from, which is IPv4 where the caller's is.
async fn accept(listener: &TcpListener, room: &Room, refused: &Seldom) -> Option<(TcpStream, IpAddr)> {
    room.vacancy().await;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            Some((stream, peer.ip().to_canonical()))
        }
        Err(error) => {
            if let Some(others) = refused.due() {
                tracing::warn!(%error, others, "a connection cannot be accepted; «too many open files» asks for a higher `ulimit -n`");
            }
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
        // See `Activity`: an idle connection waits longer than one that has begun a head.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.header)
        .keep_alive_timeout(patience.header)
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_STREAMS)
        // Streams that were reset and are not over yet.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(MAX_STREAMS as usize)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(WINDOW as usize);
    server
}
