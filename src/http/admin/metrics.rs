//! `GET /metrics`: for Prometheus, without a key, on the admin listener alone.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::{NoParameters, Parameters};
use crate::broker::Denied;
use crate::domain::reason::Reason;
use crate::http::Gate;
use crate::http::call::Current;
use crate::http::problem::Problem;

/// OpenMetrics text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
) -> Result<impl IntoResponse, Problem> {
    let refuse = |denied: Denied| Problem::denied(call, &denied);
    let mut text = gate.broker.metrics().map_err(refuse)?;
    gate.metrics.complete(&mut text).map_err(|_| refuse(Reason::Internal.into()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
