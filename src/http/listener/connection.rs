//! One connection: its requests, and an end to it when nothing comes of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

use super::Patience;
use super::activity::{Activity, Due};
use super::counted::{Answered, Asked, Metered, Tally, Underway};
use super::greeting::{self, Speaks};
use super::room::{Room, Seat};
use super::spoken::Spoken;
use crate::domain::reason::Reason;
use crate::http::call::{Peer, Unserved};
use crate::http::proxies::Proxies;
use crate::http::tls::{ClientChain, HANDSHAKE_PATIENCE, Tls};
use crate::telemetry::Seldom;

/// Between two looks whether a connection of HTTP/2 whose place others need has its answers. Its client is not asked
/// whether it agrees.
const LEAVING: Duration = Duration::from_millis(10);

/// What every connection of a listener shares.
pub(super) struct Server {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) room: Arc<Room>,
    pub(super) proxies: Arc<Proxies>,
    pub(super) router: Router,
    pub(super) patience: Patience,
    pub(super) stopping: watch::Receiver<bool>,
    /// Lines about clients that speak another protocol.
    pub(super) strange: Seldom,
}

/// Whose requests come over a connection.
struct From {
    peer: IpAddr,
    chain: Option<ClientChain>,
    /// Why none of them is served.
    unserved: Option<Reason>,
}

impl Server {
    /// Serves `stream` to its end, which comes early where others need its seat.
    pub(super) async fn serve(&self, mut stream: TcpStream, mut peer: IpAddr, mut seat: Seat) {
        let mut unannounced = None;
        if self.proxies.announces(peer) {
            let announced = tokio::select! {
                biased;
                () = seat.ended() => return,
                announced = self.first(self.patience.header, greeting::announced(&mut stream)) => announced,
            };
            match announced {
                // From here on it counts for the caller. The old seat is given back last, so that no other gets in between.
                Some(Ok(Some(caller))) => {
                    let Some(own) = self.room.take(caller) else { return };
                    (peer, seat) = (caller, own);
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    self.tell(|others| {
                        tracing::warn!(%peer, %error, others, "a trusted proxy's connection was not served: set up the PROXY protocol there, or server.forwarded here");
                    });
                    unannounced = Some(Reason::ProxyProtocolRequired);
                }
                None => return,
            }
        }
        let tally = Tally::new(seat, self.tls.is_some());
        let served = async {
            let wait = self.tls.as_ref().map_or(self.patience.header, |_| HANDSHAKE_PATIENCE);
            let Some(Ok(speaks)) = self.first(wait, greeting::speaks(&stream)).await else { return };
            let stream = Metered { stream, tally: Arc::clone(&tally) };
            let from = |unserved| From { peer, chain: None, unserved };
            match (&self.tls, speaks) {
                (None, Speaks::Tls) => {
                    greeting::swallow(&stream.stream);
                    self.tell(|others| {
                        tracing::warn!(%peer, others, "a client began TLS on a listener without TLS, and was closed: it asks https:// instead of http://, or the listener's tls is missing");
                    });
                }
                (None, _) => self.converse(stream, from(unannounced), &tally).await,
                (Some(_), Speaks::Http) => {
                    self.tell(|others| {
                        tracing::warn!(%peer, others, "a client spoke plain http to a listener with TLS: it asks http:// instead of https://");
                    });
                    tally.shook_hands();
                    self.converse(stream, from(Some(Reason::TlsRequired)), &tally).await;
                }
                (Some(tls), _) => self.converse_securely(tls, stream, from(unannounced), &tally).await,
            }
        };
        let mut served = pin!(served);
        loop {
            // What has arrived is read before anybody is called stalled: it may have waited for this machine.
            tokio::select! {
                biased;
                () = served.as_mut() => return,
                () = tally.seat.ended() => {}
            }
            if !tally.seat.stays() {
                return tracing::debug!(%peer, "closed to make room for others");
            }
        }
    }

    /// What comes first on a connection; `None` when it does not come in time, or when the order to stop does.
    async fn first<T>(&self, time: Duration, coming: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            came = tokio::time::timeout(time, coming) => came.ok(),
            _ = stopping.wait_for(|stop| *stop) => None,
        }
    }

    /// Writes a line about a strange client, if one is due.
    fn tell(&self, line: impl FnOnce(u64)) {
        if let Some(others) = self.strange.due() {
            line(others);
        }
    }

    async fn converse_securely(&self, tls: &Tls, stream: Metered, from: From, tally: &Arc<Tally>) {
        let mut stopping = self.stopping.clone();
        let shaken = tokio::select! {
            shaken = tls.handshake(stream, || tally.seat.quiet()) => shaken,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match shaken {
            Ok((stream, chain)) => {
                tally.shook_hands();
                self.converse(stream, From { chain, ..from }, tally).await;
            }
            Err(error) => tracing::debug!(peer = %from.peer, %error, "TLS handshake"),
        }
    }

    /// Answers one request.
    fn answer(
        &self,
        request: hyper::Request<Incoming>,
        from: &From,
        tally: &Arc<Tally>,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Answered>, Infallible>> + use<> {
        let http2 = request.version() == Version::HTTP_2;
        activity.note_request(http2);
        let underway = Underway::begin(tally, &request);
        let unserved = from.unserved.or(underway.is_err().then_some(Reason::Overloaded));
        let underway = underway.unwrap_or_else(|_| Underway::uncounted(tally));
        // All the streams of a connection arrive before the first of them is answered.
        if http2 {
            tally.seat.end_where_crowded();
        }
        let mut request: Request = request.map(|body| {
            if body.is_end_stream() {
                underway.is_whole();
            }
            if unserved.is_some() {
                Body::empty()
            } else {
                Body::new(Asked { body, taken: 0, underway: Arc::clone(&underway) })
            }
        });
        if let Some(reason) = unserved {
            request.extensions_mut().insert(Unserved(reason));
        }
        let caller = self.proxies.caller(from.peer, request.headers());
        // The certificate of a connection from a proxy is the proxy's own, and none of its callers'.
        let chain = if self.proxies.trusts(from.peer) {
            self.proxies.chain(from.peer, request.headers()).map(|chain| ClientChain(chain.into()))
        } else {
            from.chain.clone()
        };
        request.extensions_mut().insert(Peer(caller));
        if let Some(chain) = chain {
            request.extensions_mut().insert(chain);
        }
        let closes = from.unserved.is_some() && !http2;
        let (answering, note) = (self.router.clone().oneshot(request), Arc::clone(activity));
        async move {
            let mut answer = answering.await?;
            underway.is_answered();
            if closes || (!http2 && underway.ends_where_crowded()) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| Answered { body, underway, note }))
        }
    }

    /// Serves `stream` to its end. Dropping a connection that is over time closes it.
    async fn converse<S>(&self, stream: S, from: From, tally: &Arc<Tally>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let peer = from.peer;
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            // A client of HTTP/2 may ask on for a while before it knows that it is to leave. A reset costs little.
            let answering = (!tally.seat.is_leaving()).then(|| self.answer(request, &from, tally, &activity));
            async {
                let Some(answering) = answering else { return Err(Late) };
                answering.await.map_err(|never| match never {})
            }
        });
        let stream = Spoken::new(stream, peer, &self.router, tally, &activity);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        // Polled when it has news and not with the connection, which is polled some times for each request.
        let mut beside = FuturesUnordered::<BoxFuture<'_, Beside>>::new();
        let due = |after| tokio::time::sleep(after).map(|()| Beside::Due).boxed();
        let mut stopping = self.stopping.clone();
        beside.push(async move { stopping.wait_for(|stop| *stop).map(|_| Beside::Stop).await }.boxed());
        beside.push(tally.seat.leaves().map(|()| Beside::Crowded).boxed());
        beside.push(due(self.patience.header));
        let mut ending: Option<Instant> = None;
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
            match news {
                Beside::Stop | Beside::Crowded => {}
                Beside::Due if let Some(since) = ending => {
                    if tally.seat.is_leaving() && !tally.is_through() && since.elapsed() < self.patience.grace
                    {
                        beside.push(due(LEAVING));
                        continue;
                    }
                    return;
                }
                Beside::Due => match activity.due(&self.patience, tally.has_requests()) {
                    Due::Later(time) => {
                        beside.push(due(time));
                        continue;
                    }
                    Due::Idle => tracing::debug!(%peer, "nothing came or went on a connection"),
                    Due::NoHead => return,
                },
            }
            ending = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
            beside.clear();
            beside.push(due(if tally.seat.is_leaving() { LEAVING } else { self.patience.grace }));
        }
    }
}

/// Of a request on a connection whose place others need.
#[derive(Debug, thiserror::Error)]
#[error("this connection was told to end")]
struct Late;

/// What happens beside a connection.
enum Beside {
    /// The order to stop.
    Stop,
    /// Others need its place, and it had an answer.
    Crowded,
    /// It was given so much time.
    Due,
}
