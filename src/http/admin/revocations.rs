//! `/v1/revocations`: the kill switch.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::reads::{Reading, Reads};
use super::{NoParameters, Parameters};
use crate::broker::{self, Audited, Lifted};
use crate::domain::revocation::{Stop, Target};
use crate::http::Gate;
use crate::http::authorization::{Admin, AnyRole};
use crate::http::call::Current;
use crate::http::problem::Problem;

/// How long a stop for a while may last, in seconds.
const LASTS: std::ops::RangeInclusive<u64> = 1..=90 * 24 * 60 * 60;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopRequest {
    /// `token:JTI`, `agent:ID`, `owner:TEAM`, `issuer:NAME` or `everything`.
    target: String,
    /// For the audit log; not needed for a dry run.
    #[serde(default)]
    reason: String,
    /// The broker lifts the stop when so many seconds have passed. Without it the stop lasts until somebody lifts it.
    #[serde(default)]
    for_seconds: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftRequest {
    /// For the audit log.
    reason: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StopOptions {
    /// Tells what the stop would hit, and stops nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOptions {
    /// `true`: only stops in force; `false`: only those that were lifted. Both without it.
    #[serde(default)]
    active: Option<bool>,
}

/// A change of the kill switch, in effect.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    #[schema(value_type = Object)]
    revocation: Stop,
    /// Of a stop: the target was stopped before. `revocation` is that earlier stop, which goes on unchanged with its own
    /// reason; this call is in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_stopped: Option<bool>,
    /// `true` where the target is a token that the audit log does not know. It is stopped all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    unknown_token: bool,
    /// RFC 3339: the broker lifts the stop then, and never earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// RFC 3339: from then on, at the latest, no token is issued to the target.
    took_effect: String,
    /// Brokers, and enforcement points that follow the stops, which refuse by their own word.
    confirmed: Vec<String>,
    /// Those that may still let a token pass, because they have not said so yet.
    pending: Vec<String>,
    /// `recorded`; `pending` while the store is down; `volatile` where no file could be written either.
    #[schema(value_type = String)]
    audit: Audited,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Preview {
    dry_run: bool,
    target: String,
    /// `true` where the target is a token that the audit log does not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    unknown_token: bool,
    live_tokens: u64,
    agents: Vec<String>,
    repositories: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Stops {
    #[schema(value_type = Vec<Object>)]
    revocations: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    stop: Stop,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl From<broker::Change> for Change {
    fn from(killed: broker::Change) -> Self {
        Self {
            revocation: killed.stop,
            already_stopped: Some(killed.already_stopped),
            unknown_token: killed.unknown_token,
            until: None,
            took_effect: killed.took_effect.to_string(),
            confirmed: killed.confirmed,
            pending: killed.pending,
            audit: killed.audit,
        }
    }
}

/// Stops a target, in effect everywhere that is counted before it answers.
#[utoipa::path(post, path = "/v1/revocations", request_body = StopRequest, params(StopOptions),
    security(("operator" = ["admin"])),
    responses((status = 201, body = Change), (status = 200, body = Preview),
        (status = 404, description = "No agent, owner or issuer has this name")))]
pub(super) async fn stop(
    Admin(operator): Admin,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(options): Parameters<StopOptions>,
    reads: Reads,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let asked: StopRequest = super::json(call, request).await?;
    let target: Target =
        asked.target.parse().map_err(|error| Problem::invalid(call, format!("`target`: {error}")))?;
    if asked.for_seconds.is_some_and(|seconds| !LASTS.contains(&seconds)) {
        return Err(Problem::invalid(call, "`for_seconds` is 1 to 7776000, which is 90 days"));
    }
    let failed = |error| Problem::kill(call, &error);
    if options.dry_run {
        let _reading = reads.begin(call).await?;
        let preview = gate.broker.preview(&target).await.map_err(failed)?;
        let preview = Preview {
            dry_run: true,
            target: target.to_string(),
            unknown_token: preview.unknown_token,
            live_tokens: preview.live_tokens,
            agents: preview.agents.iter().map(ToString::to_string).collect(),
            repositories: preview.repositories,
        };
        return Ok(Json(preview).into_response());
    }
    let reason = super::reason(call, &asked.reason)?;
    let lasts = asked.for_seconds.map(Duration::from_secs);
    let killed = gate.broker.revoke(call, operator, (target, reason), lasts).await.map_err(failed)?;
    let until = gate.broker.ends(killed.stop.id).map(|at| at.to_string());
    Ok((StatusCode::CREATED, Json(Change { until, ..killed.into() })).into_response())
}

/// The stops, newest first.
#[utoipa::path(get, path = "/v1/revocations", params(ListOptions), responses((status = 200, body = Stops)))]
pub(super) async fn list(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(options): Parameters<ListOptions>,
    _: Reading,
) -> Result<Json<Stops>, Problem> {
    let revocations = gate.broker.stops(options.active == Some(true)).await;
    let mut revocations = revocations.map_err(|error| Problem::store(call, &error))?;
    if options.active == Some(false) {
        revocations.retain(|stop| stop.lift.is_some());
    }
    let listed = |stop: Stop| {
        let until = gate.broker.ends(stop.id).filter(|_| stop.lift.is_none());
        Listed { stop, until: until.map(|at| at.to_string()) }
    };
    Ok(Json(Stops { revocations: revocations.into_iter().map(listed).collect() }))
}

/// Lifts a stop. Tokens issued before it stay dead.
#[utoipa::path(post, path = "/v1/revocations/{id}/lift", request_body = LiftRequest,
    params(("id" = String, Path,)), security(("operator" = ["admin"])),
    responses((status = 200, body = Change), (status = 409, description = "It was lifted before")))]
pub(super) async fn lift(
    Admin(operator): Admin,
    State(gate): State<Gate>,
    Current(call): Current,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
    request: Request<Body>,
) -> Result<Json<Change>, Problem> {
    let asked: LiftRequest = super::json(call, request).await?;
    let reason = super::reason(call, &asked.reason)?;
    let id = id
        .parse()
        .map_err(|_| Problem::invalid(call, "the id of a stop is a UUID; GET /v1/revocations lists them"))?;
    match gate.broker.lift(call, operator, id, reason).await.map_err(|error| Problem::kill(call, &error))? {
        Lifted::Done(killed) => Ok(Json(Change { already_stopped: None, ..killed.into() })),
        Lifted::Before(_) => Err(Problem::new(call, StatusCode::CONFLICT, "this stop was lifted before")),
    }
}
