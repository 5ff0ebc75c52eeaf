//! `GET /metrics`: for Prometheus, without a key, on the admin listener alone.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::broker::metrics::Served;
use crate::http::Gate;
use crate::http::call::Current;
use crate::http::problem::Problem;

/// OpenMetrics text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(
    State(gate): State<Gate>,
    Current(call): Current,
) -> Result<impl IntoResponse, Problem> {
    let public = &gate.load.public;
    let served = Served {
        certificates: gate.tls.iter().map(|tls| tls.expiry()).collect(),
        connections: public.connections(),
        request_memory_bytes: public.memory(),
        connections_shed: public.shed(),
        log_lines_dropped: gate.load.log_lines_dropped.load(Ordering::Relaxed),
    };
    let text = gate.broker.metrics(served).map_err(|denied| Problem::denied(call, &denied))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
