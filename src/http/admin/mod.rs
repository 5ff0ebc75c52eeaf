//! The admin listener: operators stop, lift, look and audit.

mod agents;
mod audit;
mod drill;
mod explain;
mod export;
mod filter;
mod metrics;
mod openapi;
mod proof;
mod readiness;
mod reads;
mod revocations;
mod seen;
mod status;
mod stream;
mod streams;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::broker::Call;
use crate::domain::reason::Reason;
use crate::http::call::{Current, Identify};
use crate::http::problem::Problem;
use crate::http::{Gate, body};
use reads::Reads;
use streams::Streams;

/// Every path of the admin listener, which has at most so many connections.
pub fn router(gate: Gate, connections: usize) -> Router {
    Router::new()
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/{id}", get(agents::show))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/revocations", get(revocations::list).post(revocations::stop))
        .route("/v1/revocations/stream", get(stream::stream))
        .route("/v1/revocations/seen", post(seen::seen))
        .route("/v1/revocations/{id}/lift", post(revocations::lift))
        .route("/v1/drill", post(drill::drill))
        .route("/v1/drill/last", get(drill::last))
        .route("/v1/audit/events", get(audit::events))
        .route("/v1/audit/export", get(export::export))
        .route("/v1/audit/checkpoint", get(audit::checkpoint))
        .route("/v1/audit/key", get(audit::key))
        .route("/v1/audit/proof", get(proof::proof))
        .route("/v1/status", get(status::status))
        .route("/readyz", get(readiness::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(Extension(Reads::of(connections)))
        .layer(Extension(Streams::of(connections)))
        .layer(Identify { gate: gate.clone(), fault, turns: None })
        .with_state(gate)
}

/// The query of a request; a mistake in it is a problem like any other. Every handler has one: a parameter that was
/// ignored could do more than was meant, such as a `dry_run` where there is none.
struct Parameters<T>(T);

/// Of a call that has no query.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Current(call) = Current::of(parts);
        let known: Vec<String> = T::into_params(|| None).into_iter().map(|known| known.name).collect();
        let query = parts.uri.query().unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| known.iter().all(|known| *known != name))
        {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let unknown = format!("the query has an unknown parameter; known: {known}");
            return Err(Problem::denied(call, &body::said(Reason::ParameterUnknown, unknown)));
        }
        let mistake = "the query has a repeated parameter, or a value of the wrong type";
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|_| Problem::invalid(call, mistake))
    }
}

fn fault(call: Call, reason: Reason) -> Response {
    Problem::denied(call, &reason.into()).into_response()
}

async fn no_such_path(Current(call): Current) -> Problem {
    Problem::not_found(call, "no such path; /openapi.json lists them")
}

async fn no_such_method(Current(call): Current) -> Problem {
    let what = "this path is for other methods; Allow lists them";
    Problem::new(call, StatusCode::METHOD_NOT_ALLOWED, what)
}

/// A JSON body without unknown members, or a problem that says where it is wrong.
async fn json<T: DeserializeOwned>(call: Call, request: Request<Body>) -> Result<T, Problem> {
    let bytes = body::read(request).await.map_err(|reason| Problem::denied(call, &reason.into()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Where, and not what: the words of the parser repeat the input.
        let (line, column) = (error.line(), error.column());
        let what = "not the JSON object that /openapi.json describes";
        Problem::invalid(call, format!("the body, line {line} column {column}: {what}"))
    })
}

/// The words that a person gives for what they do; they stand in the audit log.
fn reason(call: Call, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 500 || text.chars().any(char::is_control) {
        return Err(Problem::invalid(call, "`reason` is 1 to 500 characters of text on one line"));
    }
    Ok(text.to_owned())
}
