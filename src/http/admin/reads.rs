//! Reads of the store by operators. A few go on at once and the others wait, so that no number of them delays a stop.

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

/// The places for reads; the router puts them into each request.
#[derive(Debug, Clone)]
pub(super) struct Reads(Arc<Semaphore>);

/// A place for one read, from the moment at which all before it in the handler's list was found good until the answer.
#[derive(Debug)]
pub(super) struct Reading {
    _place: OwnedSemaphorePermit,
}

impl Default for Reads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Reads {
    /// Waits for a place. Whoever has a body reads it before: its sender may be slow.
    ///
    /// # Errors
    /// 503 where none is free in time.
    pub(super) async fn begin(self, call: Call) -> Result<Reading, Problem> {
        self.begin_within(PATIENCE, call).await
    }

    async fn begin_within(self, patience: Duration, call: Call) -> Result<Reading, Problem> {
        match tokio::time::timeout(patience, self.0.acquire_owned()).await {
            Ok(Ok(place)) => Ok(Reading { _place: place }),
            Ok(Err(_)) | Err(_) => {
                let busy = "the broker is busy with other reads of the store: ask again in a moment";
                Err(Problem::new(call, StatusCode::SERVICE_UNAVAILABLE, busy))
            }
        }
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

    use super::*;
    use crate::domain::id::RequestId;
    use crate::domain::time::Timestamp;

    #[tokio::test]
    async fn who_waits_too_long_for_a_place_is_told_to_come_back() {
        let request = RequestId::new(Timestamp::from_millis(0), &[0; 10]);
        let call = Call { request, peer: [127, 0, 0, 1].into() };
        let reads = Reads::default();
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
        places.pop();
        reads.begin(call).await.unwrap();
    }
}
