//! Each request's id, and the address it came from: in its answer, its log lines and its events.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
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
use crate::http::Gate;
use crate::telemetry::span;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The peer address, which the listener puts into each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Of a request for which there is no memory: the listener puts it there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowded;

/// Requests that the broker works at at once. Fewer than the journal can queue, so that no flood of them can fill its
/// queue; whoever waits for its turn does so in order.
const AT_ONCE: usize = 512;

/// The turns of a listener's requests.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A request's turn, which it takes once its body is whole, and which ends with its answer.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<(Turns, OnceLock<OwnedSemaphorePermit>)>);

impl Turn {
    fn of(turns: &Turns) -> Self {
        Self(Arc::new((turns.clone(), OnceLock::new())))
    }

    /// Waits for the turn.
    pub(super) async fn take(&self) {
        let (Turns(turns), taken) = &*self.0;
        // Never closed.
        if let Ok(permit) = Arc::clone(turns).acquire_owned().await {
            let _first = taken.set(permit);
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
        let turn = turns.as_ref().map(Turn::of);
        if let Some(turn) = turn.clone() {
            request.extensions_mut().insert(turn);
        }
        let crowded = request.extensions().get::<Crowded>().is_some();
        let answering = (!crowded).then(|| span.in_scope(|| self.inner.call(request)));
        let fault = *fault;
        let answer = async move {
            let mut response = match answering {
                Some(answering) => answered(answering).await.unwrap_or_else(|| fault(call, Reason::Internal)),
                None => fault(call, Reason::Overloaded),
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
    async fn a_panic_in_a_handler_is_an_answer() {
        async fn handler(panics: bool) -> Result<Response, Infallible> {
            assert!(!panics, "canary");
            Ok(StatusCode::OK.into_response())
        }
        assert_eq!(answered(handler(false)).await.unwrap().status(), 200);
        assert!(answered(handler(true)).await.is_none());
    }
}
