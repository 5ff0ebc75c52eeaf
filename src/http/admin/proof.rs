//! `GET /v1/audit/proof`: what an auditor who holds checkpoints checks the log with (RFC 6962 §2.1).

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Parameters;
use super::reads::Reading;
use crate::broker::Call;
use crate::domain::digest::Digest;
use crate::http::Gate;
use crate::http::authorization::AnyRole;
use crate::http::call::Current;
use crate::http::problem::Problem;
use crate::store::StoreError;

/// `seq` and `size`, or `first` and `second`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The event that is to be proven; the first is 1.
    seq: Option<u64>,
    /// The size of the log that the event is in: that of a checkpoint.
    size: Option<u64>,
    /// The size of the older checkpoint.
    first: Option<u64>,
    /// The size of the newer checkpoint.
    second: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum LogProof {
    Inclusion(Inclusion),
    Consistency(Consistency),
}

/// That an event is in the log. In the tree its index is `seq` less one.
#[derive(Serialize, ToSchema)]
pub(super) struct Inclusion {
    seq: u64,
    size: u64,
    /// SHA-256 of 0x00 and the event's bytes.
    #[schema(value_type = String)]
    leaf: Digest,
    /// The audit path, lowest first.
    #[schema(value_type = Vec<String>)]
    proof: Vec<Digest>,
}

/// That nothing before `first` was changed between two checkpoints.
#[derive(Serialize, ToSchema)]
pub(super) struct Consistency {
    first: u64,
    second: u64,
    #[schema(value_type = Vec<String>)]
    proof: Vec<Digest>,
}

/// A proof of inclusion (`seq` and `size`) or of consistency (`first` and `second`), in lower-case hex.
#[utoipa::path(get, path = "/v1/audit/proof", params(Asked),
    responses((status = 200, body = LogProof)))]
pub(super) async fn proof(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(asked): Parameters<Asked>,
    _: Reading,
) -> Result<Json<LogProof>, Problem> {
    let log = gate.broker.audit();
    let proof = match asked {
        Asked { seq: Some(seq), size: Some(size), first: None, second: None } => {
            let found = log.inclusion(seq, size).await;
            let found = found.map_err(|error| refused(call, &error, "0 < seq ≤ size", log.size()))?;
            LogProof::Inclusion(Inclusion { seq, size, leaf: found.leaf, proof: found.proof })
        }
        Asked { seq: None, size: None, first: Some(first), second: Some(second) } => {
            let proof = log.consistency(first, second).await;
            let proof = proof.map_err(|error| refused(call, &error, "0 < first ≤ second", log.size()))?;
            LogProof::Consistency(Consistency { first, second, proof })
        }
        _ => return Err(Problem::invalid(call, "give `seq` and `size`, or `first` and `second`")),
    };
    Ok(Json(proof))
}

fn refused(call: Call, error: &StoreError, order: &str, size: u64) -> Problem {
    match error {
        StoreError::OutOfRange(_) => Problem::invalid(call, format!("{order} ≤ {size}, the log's size")),
        error => Problem::store(call, error),
    }
}
