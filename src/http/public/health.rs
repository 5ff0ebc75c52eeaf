//! Is the process there, and can it issue tokens? Anybody may ask, so the answer is one word.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::http::Gate;

#[derive(Serialize)]
struct Body {
    status: &'static str,
}

pub(super) async fn healthz() -> impl IntoResponse {
    Json(Body { status: "ok" })
}

pub(super) async fn readyz(State(gate): State<Gate>) -> impl IntoResponse {
    let readiness = gate.readiness();
    (readiness.code, [(CACHE_CONTROL, "no-store")], Json(Body { status: readiness.status }))
}
