//! Is the process there, and can it issue tokens?

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::http::Gate;

/// `status` is `ok`, `degraded` or `unavailable`.
#[derive(Serialize)]
struct Body {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
}

pub(super) async fn healthz() -> impl IntoResponse {
    Json(Body { status: "ok", degraded: Vec::new() })
}

pub(super) async fn readyz(State(gate): State<Gate>) -> impl IntoResponse {
    let mut readiness = gate.broker.readiness();
    readiness.degraded.extend(gate.tls.iter().filter_map(|tls| tls.degraded()));
    let (code, status) = match (readiness.ready, readiness.degraded.is_empty()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ok"),
    };
    (code, [(CACHE_CONTROL, "no-store")], Json(Body { status, degraded: readiness.degraded }))
}
