//! One connection: its requests, and an end to it when nothing comes of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
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
use tower::ServiceExt;

use super::Patience;
use super::activity::Activity;
use super::counted::{Answered, Asked, Metered, Tally, Underway};
use super::room::Seat;
use crate::http::call::{Crowded, Peer};
use crate::http::tls::{ClientChain, Tls};

/// What every connection of a listener shares.
pub(super) struct Server {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) router: Router,
    pub(super) patience: Patience,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Server {
    /// Serves `stream` to its end, which comes early where others need its seat.
    pub(super) async fn serve(&self, stream: TcpStream, peer: IpAddr, seat: Seat) {
        let tally = Tally::new(seat, self.tls.is_some());
        let stream = Metered { stream, tally: Arc::clone(&tally) };
        let served = async {
            match &self.tls {
                None => self.converse(stream, peer, None, &tally).await,
                Some(tls) => self.converse_securely(tls, stream, peer, &tally).await,
            }
        };
        tokio::select! {
            biased;
            () = tally.seat.ended() => tracing::debug!(%peer, "closed to make room for others"),
            () = served => {}
        }
    }

    async fn converse_securely(&self, tls: &Tls, stream: Metered, peer: IpAddr, tally: &Arc<Tally>) {
        let mut stopping = self.stopping.clone();
        let shaken = tokio::select! {
            shaken = tls.handshake(stream, || tally.seat.quiet()) => shaken,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match shaken {
            Ok((stream, chain)) => {
                tally.shook_hands();
                self.converse(stream, peer, chain, tally).await;
            }
            Err(error) => tracing::debug!(%peer, %error, "TLS handshake"),
        }
    }

    /// Answers one request.
    fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        chain: Option<&ClientChain>,
        tally: &Arc<Tally>,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Answered>, Infallible>> + use<> {
        activity.note();
        let underway = Underway::begin(tally, &request);
        let crowded = underway.is_err();
        let underway = underway.unwrap_or_else(|_| Underway::uncounted(tally));
        let mut request: Request = request.map(|body| {
            if body.is_end_stream() {
                underway.is_whole();
            }
            if crowded {
                Body::empty()
            } else {
                Body::new(Asked { body, taken: 0, underway: Arc::clone(&underway) })
            }
        });
        if crowded {
            request.extensions_mut().insert(Crowded);
        }
        request.extensions_mut().insert(Peer(peer));
        if let Some(chain) = chain {
            request.extensions_mut().insert(chain.clone());
        }
        let (answering, note) = (self.router.clone().oneshot(request), Arc::clone(activity));
        async move {
            let answer = answering.await?;
            underway.is_answered();
            Ok(answer.map(|body| Answered { body, underway, note }))
        }
    }

    /// Serves `stream` to its end. Dropping a connection that is over time closes it.
    async fn converse<S>(&self, stream: S, peer: IpAddr, chain: Option<ClientChain>, tally: &Arc<Tally>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            self.answer(request, peer, chain.as_ref(), tally, &activity)
        });
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
