//! `GET /openapi.json`: the admin listener as an OpenAPI 3.1 document.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{agents, audit, explain, export, metrics, proof, readiness, revocations};

#[derive(OpenApi)]
#[openapi(
    info(title = "hallpass admin API", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        agents::list,
        agents::show,
        explain::explain,
        revocations::list,
        revocations::stop,
        revocations::lift,
        audit::events,
        export::export,
        audit::checkpoint,
        audit::key,
        proof::proof,
        readiness::readyz,
        metrics::metrics,
        document,
    )
)]
struct Api;

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn document() -> Json<Document> {
    Json(Api::openapi())
}
