//! Reads of the store by operators. Two go on at once, a few wait, and the others are refused at once: each that waits
//! holds a connection, and no number of them may keep a stop from finding one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::broker::Call;
use crate::http::call::Current;
use crate::http::problem::Problem;

/// Reads that go on at once.
const AT_ONCE: usize = 2;
/// For the others. Longer than any read takes but an export of a large log, which gives its place back with its first
/// piece.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of the listener's connections, so many wait for a read: one in eight.
const WAITING: usize = 8;

/// The places for reads; the router puts them into each request.
#[derive(Debug, Clone)]
pub(super) struct Reads {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A place for one read, from the moment at which all before it in the handler's list was found good until the answer.
#[derive(Debug)]
pub(super) struct Reading {
    _place: OwnedSemaphorePermit,
}

impl Reads {
    /// Those of a listener that has at most so many connections.
    pub(super) fn of(connections: usize) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { places: semaphore(AT_ONCE), waiting: semaphore((connections / WAITING).max(1)) }
    }

    /// Waits for a place, where not too many wait already. Whoever has a body reads it before: its sender may be slow.
    ///
    /// # Errors
    /// 503 where none is free in time.
    pub(super) async fn begin(self, call: Call) -> Result<Reading, Problem> {
        self.begin_within(PATIENCE, call).await
    }

    async fn begin_within(self, patience: Duration, call: Call) -> Result<Reading, Problem> {
        self.place(patience).await.map(|place| Reading { _place: place }).ok_or_else(|| {
            let busy = "the broker is busy with other reads of the store: ask again in a moment";
            Problem::new(call, StatusCode::SERVICE_UNAVAILABLE, busy)
        })
    }

    async fn place(self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        // It goes to those that wait first, so nobody overtakes them here.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        tokio::time::timeout(patience, self.places.acquire_owned()).await.ok()?.ok()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reads {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let reads = parts.extensions.get::<Self>().cloned();
        Ok(reads.expect("the router puts it into every request of the admin listener"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Current(call) = Current::of(parts);
        let Ok(reads) = Reads::from_request_parts(parts, state).await;
        reads.begin(call).await
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::FutureExt;

    use super::*;
    use crate::domain::id::RequestId;
    use crate::domain::time::Timestamp;

    #[tokio::test]
    async fn who_waits_too_long_for_a_place_is_told_to_come_back() {
        let request = RequestId::new(Timestamp::from_millis(0), &[0; 10]);
        let call = Call { request, peer: [127, 0, 0, 1].into() };
        let reads = Reads::of(3 * WAITING);
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(reads.clone().begin(call).await.unwrap());
        }
        let refused =
            reads.clone().begin_within(Duration::from_millis(10), call).await.unwrap_err().into_response();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        // Three wait and no more: the next is refused at once.
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(reads.clone().begin(call))).collect();
        assert!(waiting.iter_mut().all(|read| read.as_mut().now_or_never().is_none()));
        let at_once = reads.clone().begin(call).now_or_never().expect("an answer at once");
        assert_eq!(at_once.unwrap_err().into_response().status(), 503);
        places.pop();
        waiting.remove(0).await.unwrap();
    }
}
