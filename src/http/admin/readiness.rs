//! `GET /readyz`: what is not as it should be, for operators.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoParameters, Parameters};
use crate::http::Gate;
use crate::http::authorization::AnyRole;

#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ok`, `degraded` or `unavailable`: no token can be issued.
    status: &'static str,
    /// Each part that is not well.
    degraded: Vec<String>,
}

/// Whether tokens can be issued, and what is degraded. The public listener's says the status alone.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn readyz(
    _: AnyRole,
    State(gate): State<Gate>,
    _: Parameters<NoParameters>,
) -> impl IntoResponse {
    let readiness = gate.readiness();
    let degraded = readiness.degraded.into_iter().map(|part| part.what).collect();
    let body = Readiness { status: readiness.status, degraded };
    (readiness.code, [(CACHE_CONTROL, "no-store")], Json(body))
}
