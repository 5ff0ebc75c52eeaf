//! One connection: its requests, and an end to it when nothing comes of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

use super::Patience;
use crate::http::call::Peer;
use crate::http::tls::{ClientChain, Tls};

/// What every connection of a listener shares.
pub(super) struct Server {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) patience: Patience,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Server {
    pub(super) async fn converse_securely(&self, tls: &Tls, stream: TcpStream, peer: IpAddr) {
        let mut stopping = self.stopping.clone();
        let hands = tokio::select! {
            hands = tls.handshake(stream) => hands,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match hands {
            Ok((stream, chain)) => self.converse(stream, peer, chain).await,
            Err(error) => tracing::debug!(%peer, %error, "TLS handshake"),
        }
    }

    /// Serves `stream` to its end. Dropping a connection that is over time closes it.
    pub(super) async fn converse<S>(&self, stream: S, peer: IpAddr, chain: Option<ClientChain>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let service = {
            let (router, activity) = (self.router.clone(), Arc::clone(&activity));
            hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                activity.note();
                let mut request: Request = request.map(Body::new);
                request.extensions_mut().insert(Peer(peer));
                if let Some(chain) = &chain {
                    request.extensions_mut().insert(chain.clone());
                }
                let (answer, activity) = (router.clone().oneshot(request), Arc::clone(&activity));
                async move { Ok::<_, Infallible>(answer.await?.map(|body| Noted { body, activity })) }
            })
        };
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        // Polled when it has news and not with the connection, which is polled some times for each request.
        let mut beside = FuturesUnordered::<BoxFuture<'_, Beside>>::new();
        let due = |after| tokio::time::sleep(after).map(|()| Beside::Due).boxed();
        let mut stopping = self.stopping.clone();
        beside.push(async move { stopping.wait_for(|stop| *stop).map(|_| Beside::Stop).await }.boxed());
        beside.push(due(self.patience.header));
        let mut ending = false;
        loop {
            let news = tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "connection");
                    }
                    return;
                }
                Some(news) = beside.next() => news,
            };
            match (news, activity.idle()) {
                (Beside::Stop, _) => {}
                (Beside::Due, _) if ending => return,
                // Not one whole head of a request, for which HTTP/1.1 alone has a time-out.
                (Beside::Due, None) => return,
                (Beside::Due, Some(idle)) if idle < self.patience.stall => {
                    beside.push(due(self.patience.stall - idle));
                    continue;
                }
                (Beside::Due, Some(_)) => tracing::debug!(%peer, "nothing came or went on a connection"),
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
            beside.clear();
            beside.push(due(self.patience.grace));
        }
    }
}

/// What happens beside a connection.
enum Beside {
    /// The order to stop.
    Stop,
    /// It was given so much time.
    Due,
}

/// When something last came of a connection: a request arrived, or a piece of an answer was taken.
struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`, and one; 0 before the first request.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn note(&self) {
        self.last.store(self.millis() + 1, Ordering::Relaxed);
    }

    /// For how long nothing came of it; `None` before the first request.
    fn idle(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(last)))
    }
}

/// The body of an answer. It is asked for its next piece when there is room for it, so a client that does not
/// read is seen here.
struct Noted {
    body: Body,
    activity: Arc<Activity>,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.activity.note();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
