//! `/v1/drill`: the rehearsal of the kill switch.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reads::Reading;
use super::{NoParameters, Parameters};
use crate::broker::{self, DrillError};
use crate::http::Gate;
use crate::http::authorization::{Admin, AnyRole};
use crate::http::call::Current;
use crate::http::problem::Problem;

/// An empty object: a drill has no options.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrillRequest {}

/// What a drill found. Times are in milliseconds since the stop began.
#[derive(Serialize, ToSchema)]
pub(super) struct Drill {
    passed: bool,
    /// RFC 3339.
    at: String,
    /// The broker that ran it.
    broker: String,
    /// Who was asked to confirm; those that did not first, then the slowest.
    points: Vec<DrillPoint>,
    slowest_ms: u64,
    /// When the broker refused the token; `null` where it did not.
    refused_ms: Option<u64>,
    /// How long the lift took; `null` where the stop could not be lifted.
    lifted_ms: Option<u64>,
    /// What went wrong, with names; empty where the drill passed.
    faults: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DrillPoint {
    name: String,
    /// `broker` or `enforcement_point`.
    kind: &'static str,
    /// `null` where it did not confirm.
    confirmed_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LastDrill {
    /// `null` before the first.
    drill: Option<JournaledDrill>,
}

/// A drill as the audit log has it.
#[derive(Serialize, ToSchema)]
pub(super) struct JournaledDrill {
    passed: bool,
    /// RFC 3339.
    at: String,
    /// Who ran it: `hallpass` where the schedule did.
    operator: Option<String>,
    /// What it found, with names and times.
    detail: String,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl From<broker::Drill> for Drill {
    fn from(drill: broker::Drill) -> Self {
        let point = |point: &broker::DrillPoint| DrillPoint {
            name: point.name.clone(),
            kind: if point.is_outside() { "enforcement_point" } else { "broker" },
            confirmed_ms: point.confirmed.map(millis),
        };
        Self {
            passed: drill.has_passed(),
            at: drill.at.to_string(),
            broker: drill.broker.to_string(),
            points: drill.points.iter().map(point).collect(),
            slowest_ms: millis(drill.slowest()),
            refused_ms: drill.refused.map(millis),
            lifted_ms: drill.lifted.map(millis),
            faults: drill.faults,
        }
    }
}

impl From<broker::JournaledDrill> for JournaledDrill {
    fn from(drill: broker::JournaledDrill) -> Self {
        let operator = drill.operator.map(|name| name.to_string());
        Self { passed: drill.passed, at: drill.at.to_string(), operator, detail: drill.detail }
    }
}

/// Stops a canary without permissions by the path of every stop, and lifts the stop again.
#[utoipa::path(post, path = "/v1/drill", request_body = DrillRequest, security(("operator" = ["admin"])),
    responses((status = 200, description = "It ran; `passed` says how it ended", body = Drill),
        (status = 409, description = "Another drill runs, or a stop is in force that covers the canary")))]
pub(super) async fn drill(
    Admin(operator): Admin,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    request: Request<Body>,
) -> Result<Json<Drill>, Problem> {
    let DrillRequest {} = super::json(call, request).await?;
    match gate.broker.drill(call, operator).await {
        Ok(drill) => Ok(Json(drill.into())),
        Err(DrillError::Kill(error)) => Err(Problem::kill(call, &error)),
        Err(error @ (DrillError::Busy | DrillError::Stopped(_))) => {
            Err(Problem::new(call, StatusCode::CONFLICT, error.to_string()))
        }
    }
}

/// The last drill of any broker of the installation.
#[utoipa::path(get, path = "/v1/drill/last", responses((status = 200, body = LastDrill)))]
pub(super) async fn last(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    _: Reading,
) -> Result<Json<LastDrill>, Problem> {
    let last = gate.broker.last_drill().await.map_err(|error| Problem::store(call, &error))?;
    Ok(Json(LastDrill { drill: last.map(JournaledDrill::from) }))
}
