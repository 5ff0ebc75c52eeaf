//! `GET /openapi.json`: the admin listener as an OpenAPI 3.1 document.

mod strict;

use std::sync::LazyLock;

use axum::Json;
use serde_json::Value;
use utoipa::OpenApi;

use super::{
    NoParameters, Parameters, agents, audit, drill, explain, export, metrics, proof, readiness, revocations,
    seen, status, stream,
};
use crate::http::problem::Problem;

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
        stream::stream,
        seen::seen,
        drill::drill,
        drill::last,
        audit::events,
        export::export,
        audit::checkpoint,
        audit::key,
        proof::proof,
        status::status,
        readiness::readyz,
        metrics::metrics,
        document,
    ),
    components(schemas(Problem))
)]
struct Api;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let derived =
        serde_json::to_value(Api::openapi()).expect("a document is maps of strings, which have a JSON");
    strict::refine(derived)
});

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn document(_: Parameters<NoParameters>) -> Json<&'static Value> {
    Json(&DOCUMENT)
}
