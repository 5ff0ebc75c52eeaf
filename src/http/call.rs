//! Each request's id, and the address it came from: in its answer, its log lines and its events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::broker::Call;
use crate::domain::reason::Reason;
use crate::domain::source::network;
use crate::http::Gate;
use crate::telemetry::span;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The peer address, which the listener puts into each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Of a request that no handler gets, such as one for which there is no memory: the listener puts it there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unserved(pub(super) Reason);

/// Requests that the broker works at at once. Fewer than the journal can queue, so that no flood of them can fill its
/// queue; whoever waits for its turn does so in order.
const AT_ONCE: usize = 512;

/// Those of one source: a flood from one address, whose proofs are all verified, waits for itself and leaves turns to
/// everybody else. Enough that a fleet behind one address fills the journal's batches.
const AT_ONCE_OF_A_SOURCE: usize = AT_ONCE / 4 * 3;

/// So many sources are remembered, or twice as many as had a request the last time, before those without one are
/// forgotten: looking through them costs little a request, however many there are.
const FEW_SOURCES: usize = 1024;

/// The turns of a listener's requests.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// The shares of sources, each kept by the requests that have or want a turn of it.
    shares: Arc<Mutex<Shares>>,
}

#[derive(Debug, Default)]
struct Shares {
    by_source: HashMap<IpAddr, Weak<Semaphore>>,
    /// How many had a request when the others were last forgotten.
    left: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), shares: Arc::default() }
    }
}

impl Turns {
    fn share(&self, source: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.by_source.get(&source).and_then(Weak::upgrade) {
            return share;
        }
        if shares.by_source.len() >= FEW_SOURCES.max(2 * shares.left) {
            shares.by_source.retain(|_, share| share.strong_count() > 0);
            shares.left = shares.by_source.len();
        }
        let share = Arc::new(Semaphore::new(AT_ONCE_OF_A_SOURCE));
        shares.by_source.insert(source, Arc::downgrade(&share));
        share
    }
}

/// A request's turn, which it takes once its body is whole, and which ends with its answer.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Turns,
    source: IpAddr,
    /// Of the source's share, and of all.
    taken: OnceLock<[OwnedSemaphorePermit; 2]>,
}

impl Turn {
    fn of(turns: &Turns, peer: IpAddr) -> Self {
        Self(Arc::new(Inner { turns: turns.clone(), source: network(peer), taken: OnceLock::new() }))
    }

    /// Waits for the turn: first behind its own source's requests, then behind everybody's.
    pub(super) async fn take(&self) {
        let Inner { turns, source, taken } = &*self.0;
        // Neither is ever closed.
        if let Ok(own) = turns.share(*source).acquire_owned().await
            && let Ok(permit) = Arc::clone(&turns.all).acquire_owned().await
        {
            let _first = taken.set([own, permit]);
        }
    }
}

/// Names each call, opens its span, and logs how it ended. Logs neither query nor headers nor body.
///
/// A panic in a handler is a fault of the broker like any other: its caller is answered, in the listener's
/// own form, and whoever shares the connection goes on.
#[derive(Clone)]
pub(super) struct Identify {
    pub(super) gate: Gate,
    pub(super) fault: Fault,
    /// None: a request never waits for its turn.
    pub(super) turns: Option<Turns>,
}

impl<S> Layer<S> for Identify {
    type Service = Identified<S>;

    fn layer(&self, inner: S) -> Identified<S> {
        Identified { identify: self.clone(), inner }
    }
}

#[derive(Clone)]
pub(super) struct Identified<S> {
    identify: Identify,
    inner: S,
}

impl<S> Service<Request> for Identified<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Identify { gate, fault, turns } = &self.identify;
        let peer = request.extensions().get::<Peer>().map(|Peer(peer)| *peer);
        let Some(call) = peer.and_then(|peer| gate.broker.call(peer).ok()) else {
            return future::ready(Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())).boxed();
        };
        request.extensions_mut().insert(Current(call));
        let begun = tokio::time::Instant::now();
        let method = known_method(request.method());
        let matched = request.extensions().get::<axum::extract::MatchedPath>().cloned();
        let route = matched.as_ref().map_or("-", |path| path.as_str());
        let span = span::of_request(call.request, method, route);
        let turn = turns.as_ref().map(|turns| Turn::of(turns, call.peer));
        if let Some(turn) = turn.clone() {
            request.extensions_mut().insert(turn);
        }
        let answering = match request.extensions().get::<Unserved>() {
            Some(Unserved(reason)) => Err(*reason),
            None => Ok(span.in_scope(|| self.inner.call(request))),
        };
        let fault = *fault;
        let answer = async move {
            let mut response = match answering {
                Ok(answering) => answered(answering).await.unwrap_or_else(|| fault(call, Reason::Internal)),
                Err(reason) => fault(call, reason),
            };
            drop(turn);
            if let Ok(id) = HeaderValue::try_from(call.request.to_string()) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            tracing::info!(
                peer = %call.peer,
                status = response.status().as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                "call"
            );
            Ok(response)
        };
        answer.instrument(span).boxed()
    }
}

/// The name of a method that HTTP knows: any other is words that the caller chose.
pub(super) fn known_method(method: &Method) -> &'static str {
    let names = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"];
    names.into_iter().find(|name| *name == method.as_str()).unwrap_or("-")
}

/// How a listener answers a fault of the broker.
pub(super) type Fault = fn(Call, Reason) -> Response;

/// None where the handler panicked. What it panicked with is dropped: it may hold what the caller sent.
async fn answered(handler: impl Future<Output = Result<Response, Infallible>>) -> Option<Response> {
    AssertUnwindSafe(handler).catch_unwind().await.ok().and_then(Result::ok)
}

/// The call that a handler answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Current(pub(super) Call);

impl<S: Send + Sync> FromRequestParts<S> for Current {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

impl Current {
    pub(super) fn of(parts: &Parts) -> Self {
        let current = parts.extensions.get::<Self>().copied();
        current.expect("`Identify` is the outermost layer of both listeners")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_waits_for_itself_and_leaves_turns_to_others() {
        let turns = Turns::default();
        let turn = |peer: &str| Turn::of(&turns, peer.parse().unwrap());
        let mut taken = Vec::new();
        for n in 0..AT_ONCE_OF_A_SOURCE {
            taken.push(turn(&format!("2001:db8::{n:x}")));
            taken[n].take().await;
        }
        let next = turn("2001:db8::1:0");
        // Else tokio makes them wait because this task took so much at once.
        tokio::task::yield_now().await;
        let mut waiting = Box::pin(next.take());
        assert!(waiting.as_mut().now_or_never().is_none(), "of the same network");
        turn("192.0.2.1").take().now_or_never().expect("another source has its turn at once");
        drop(taken.pop());
        assert!(waiting.as_mut().now_or_never().is_some());
        drop(waiting);
        drop((next, taken));
        for n in 0..=FEW_SOURCES as u32 {
            turn(&std::net::Ipv4Addr::from_bits(n).to_string()).take().await;
        }
        assert!(turns.shares.lock().unwrap().by_source.len() < 10, "the quiet ones are forgotten");
    }

    #[tokio::test]
    async fn a_panic_in_a_handler_is_an_answer() {
        async fn handler(panics: bool) -> Result<Response, Infallible> {
            assert!(!panics, "canary");
            Ok(StatusCode::OK.into_response())
        }
        assert_eq!(answered(handler(false)).await.unwrap().status(), 200);
        assert!(answered(handler(true)).await.is_none());
    }
}
