//! `POST /v1/revocations/seen`: an enforcement point says what it has seen, and learns how fresh that makes it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::stream::name;
use super::{NoParameters, Parameters};
use crate::domain::revocation::Place;
use crate::http::Gate;
use crate::http::authorization::Follower;
use crate::http::call::Current;
use crate::http::problem::Problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// The name that the stream was opened with.
    follower: String,
    /// The last id of the stream that was taken in; none before the first.
    #[serde(default)]
    id: Option<String>,
    /// The enforcement point lets no token pass any more: no stop waits for it.
    #[serde(default)]
    leaving: bool,
}

/// Whoever has taken in this id, or takes it in later, has judged by the stops as they were `age_ms` before it sent this
/// report.
#[derive(Serialize, ToSchema)]
pub(super) struct Fresh {
    /// The id that the stream is at now.
    id: String,
    age_ms: u64,
    /// Whoever has judged by nothing fresher for so long refuses every token.
    max_staleness_ms: u64,
}

/// Says what an enforcement point has seen. Stops count it for `max_staleness_ms` from then on.
#[utoipa::path(post, path = "/v1/revocations/seen", request_body = Report,
    security(("operator" = []), ("resource_server" = [])),
    responses((status = 200, body = Fresh), (status = 429, description = "The key has as many enforcement points as are counted"),
        (status = 503, description = "The broker cannot tell what is stopped")))]
pub(super) async fn seen(
    caller: Follower,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    request: Request<Body>,
) -> Result<Json<Fresh>, Problem> {
    let report: Report = super::json(call, request).await?;
    let follower = name(call, &caller.name, &report.follower)?;
    // What is no id of this broker's confirms nothing.
    let place = report.id.as_deref().and_then(|id| id.parse::<Place>().ok());
    let seen = gate.broker.seen(&follower, place).await.map_err(|_| {
        let many = "this key has as many enforcement points as are counted";
        Problem::new(call, StatusCode::TOO_MANY_REQUESTS, many)
    })?;
    if report.leaving {
        gate.broker.leaves(&follower).await;
    }
    let seen = seen.map_err(|denied| Problem::denied(call, &denied))?;
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Fresh {
        id: seen.now.to_string(),
        age_ms: millis(seen.age),
        max_staleness_ms: millis(seen.max_staleness),
    }))
}
