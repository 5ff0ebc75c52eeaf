//! `GET /v1/agents`: the registry, with what each agent does now.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::reads::Reading;
use super::{NoParameters, Parameters};
use crate::broker::AgentStatus;
use crate::domain::agent::IdentityRule;
use crate::domain::event::Event;
use crate::domain::permission::Permission;
use crate::domain::time::{Seconds, Timestamp};
use crate::http::Gate;
use crate::http::authorization::AnyRole;
use crate::http::call::Current;
use crate::http::problem::Problem;

/// Live tokens that are told of one agent.
const TOKENS: usize = 100;

#[derive(Serialize, ToSchema)]
pub(super) struct Agents {
    agents: Vec<Summary>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Summary {
    id: String,
    purpose: String,
    owner: String,
    /// `active` or `stopped`.
    status: &'static str,
    stopped_by: Option<String>,
    /// What it may do, in one sentence.
    sentence: String,
    /// RFC 3339.
    last_issued: Option<String>,
    /// Issued, not expired and not revoked.
    live_tokens: u64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Detail {
    #[serde(flatten)]
    summary: Summary,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    max_ttl: Option<Seconds>,
    /// `sender-constrained` where each token must be bound to a key of its holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    require: Option<&'static str>,
    /// The agents to which it may hand a part of its token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    may_delegate_to: Vec<String>,
    identities: Vec<Identity>,
    permissions: Vec<Registered>,
    /// The newest of its live tokens, the newest first: 100 at most, of `live_tokens`.
    tokens: Vec<LiveToken>,
    /// The revision of the agent files.
    registry: String,
}

/// A token that is neither expired nor dead, as the event of its issuance has it.
#[derive(Serialize, ToSchema)]
pub(super) struct LiveToken {
    /// `jti`: `token:ID` is what stops it alone.
    id: String,
    /// RFC 3339.
    issued: String,
    expires: String,
    /// What it opens, as words.
    scope: String,
    /// The token that it was handed down from.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated_from: Option<String>,
}

impl LiveToken {
    fn of(event: &Event) -> Option<Self> {
        Some(Self {
            id: event.token?.to_string(),
            issued: event.at.to_string(),
            expires: Timestamp::from_seconds(event.expires()?.seconds()).to_string(),
            scope: event.permissions.scope().to_string(),
            delegated_from: event.parent.map(|parent| parent.to_string()),
        })
    }
}

/// One way the agent proves itself: claims of an issuer, or a key.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Identity {
    Claims {
        issuer: String,
        claims: BTreeMap<String, String>,
    },
    Key {
        #[schema(value_type = Object)]
        key: crate::domain::key::PublicKey,
    },
}

#[derive(Serialize, ToSchema)]
pub(super) struct Registered {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    environment: Option<String>,
    /// Refs of a repository, paths of an endpoint.
    patterns: Vec<String>,
    free: Vec<String>,
    gated: Vec<String>,
}

impl From<&AgentStatus> for Summary {
    fn from(status: &AgentStatus) -> Self {
        let agent = &status.agent;
        Self {
            id: agent.id.to_string(),
            purpose: agent.purpose.clone(),
            owner: agent.owner.to_string(),
            status: if status.stopped_by.is_some() { "stopped" } else { "active" },
            stopped_by: status.stopped_by.as_ref().map(ToString::to_string),
            sentence: agent.sentence(),
            last_issued: status.last_issued.map(|at| at.to_string()),
            live_tokens: status.live_tokens,
        }
    }
}

impl From<&IdentityRule> for Identity {
    fn from(rule: &IdentityRule) -> Self {
        match rule {
            IdentityRule::Claims { issuer, claims } => Self::Claims {
                issuer: issuer.to_string(),
                claims: claims.iter().map(|(name, rule)| (name.clone(), rule.to_string())).collect(),
            },
            IdentityRule::Key(key) => Self::Key { key: key.clone() },
        }
    }
}

impl From<&Permission> for Registered {
    fn from(permission: &Permission) -> Self {
        Self {
            name: permission.name.to_string(),
            kind: permission.kind.as_str(),
            url: permission.location.to_string(),
            environment: permission.environment.clone(),
            patterns: permission.patterns.iter().map(ToString::to_string).collect(),
            free: permission.free.iter().map(ToString::to_string).collect(),
            gated: permission.gated.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The registered agents.
#[utoipa::path(get, path = "/v1/agents", responses((status = 200, body = Agents)))]
pub(super) async fn list(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    _: Reading,
) -> Result<Json<Agents>, Problem> {
    let agents = gate.broker.agents().await.map_err(|error| Problem::store(call, &error))?;
    Ok(Json(Agents { agents: agents.iter().map(Summary::from).collect() }))
}

/// One registered agent.
#[utoipa::path(get, path = "/v1/agents/{id}", params(("id" = String, Path,)),
    responses((status = 200, body = Detail)))]
pub(super) async fn show(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
    _: Reading,
) -> Result<Json<Detail>, Problem> {
    let unknown = || Problem::not_found(call, "no registered agent has this id; GET /v1/agents lists them");
    let id = id.parse().map_err(|_| unknown())?;
    let found = gate.broker.agent(&id).await.map_err(|error| Problem::store(call, &error))?;
    let status = found.ok_or_else(unknown)?;
    let tokens = gate.broker.live_tokens(&id, TOKENS).await;
    let tokens = tokens.map_err(|error| Problem::store(call, &error))?;
    Ok(Json(Detail {
        summary: Summary::from(&status),
        max_ttl: status.agent.max_ttl.map(|ttl| ttl.into()),
        require: status.agent.requirement(),
        may_delegate_to: status.agent.may_delegate_to.iter().map(ToString::to_string).collect(),
        identities: status.agent.identities.iter().map(Identity::from).collect(),
        permissions: status.agent.permissions.iter().map(Registered::from).collect(),
        tokens: tokens.iter().filter_map(LiveToken::of).collect(),
        registry: gate.broker.registry_revision().to_string(),
    }))
}
