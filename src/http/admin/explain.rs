//! `POST /v1/explain`: what would happen, and which rule decides.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::reads::Reads;
use super::{NoParameters, Parameters};
use crate::broker::{Call, Denied, Explained, Miss, Supposed};
use crate::domain::decision::Ruling;
use crate::domain::grant::{Grant, Permissions};
use crate::domain::id::IssuerName;
use crate::domain::permission::Tier;
use crate::domain::reason::Reason;
use crate::domain::request::{DetailRequest, TokenRequest};
use crate::domain::revocation::Stop;
use crate::domain::time::Seconds;
use crate::http::Gate;
use crate::http::authorization::AnyRole;
use crate::http::call::Current;
use crate::http::problem::Problem;

/// Who asks, `agent` or `identity`, and for what. Without a wish it is everything that is free.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    agent: Option<String>,
    identity: Option<Identity>,
    /// Words such as `payments:read`, with spaces between them.
    scope: Option<String>,
    /// RFC 9396 §2.
    #[schema(value_type = Option<Vec<Object>>)]
    authorization_details: Option<Vec<DetailRequest>>,
    /// Origins (RFC 8707).
    resource: Option<Resource>,
    /// Seconds.
    #[schema(value_type = Option<u64>, minimum = 1)]
    requested_ttl: Option<NonZeroU64>,
}

/// A proof, as if it had been verified.
#[derive(Deserialize, ToSchema)]
#[schema(as = SupposedIdentity)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The name of an `[[issuer]]`, or `key` for a registered key, whose `sub` is its thumbprint.
    issuer: String,
    /// The proof's claims; rules see those that are strings.
    #[schema(value_type = Object)]
    claims: BTreeMap<String, Value>,
}

#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Resource {
    One(String),
    Several(Vec<String>),
}

/// What would happen. Rate limits and whether the broker is well are not looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    /// `granted` or `refused`.
    outcome: &'static str,
    /// The registered agent that would be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// What else the call must bring: `sender-constrained` for a DPoP proof, which is supposed to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    require: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Granted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refused>,
    /// What each action is, and by which rule; a stop is stricter than them all.
    actions: Vec<Decided>,
    /// The stopped level that decides.
    stopped_by: Option<String>,
    /// Every stop in effect that covers the agent. One of an issuer decides only if no other issuer is left.
    #[schema(value_type = Vec<Object>)]
    stops: Vec<Stop>,
    /// For an identity that is no agent's: the agents that it came closest to, the closest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<Near>,
    /// A fault of the registry: the agents that the identity all matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ambiguous: Vec<String>,
    /// The revision of the agent files.
    registry: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Granted {
    scope: String,
    #[schema(value_type = Vec<Object>)]
    authorization_details: Permissions,
    /// Seconds.
    #[schema(value_type = u64)]
    ttl: Seconds,
}

/// As `POST /oauth/token` would answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    error: &'static str,
    #[schema(value_type = String)]
    reason: Reason,
    description: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Decided {
    /// `<permission>:<action>`.
    word: String,
    /// `free`, `gated` or `forbidden`.
    #[schema(value_type = String)]
    tier: Tier,
    /// `file.…` (the agent's file), `guardrails.…` (the configuration) or `request.resource`.
    because: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Near {
    agent: String,
    /// How many claims of its rule match.
    matched: usize,
    mismatches: Vec<Mismatch>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Mismatch {
    /// Null where it is the issuer that differs.
    claim: Option<String>,
    /// The pattern of the rule.
    expected: String,
    /// Null where there is no such claim.
    given: Option<Value>,
}

impl Question {
    fn supposed(&mut self, call: Call) -> Result<Supposed, Problem> {
        match (self.agent.take(), self.identity.take()) {
            (Some(id), None) => id.parse().map(Supposed::Agent).map_err(|_| unknown_agent(call)),
            (None, Some(Identity { issuer, claims })) => {
                let issuer: Result<IssuerName, _> = issuer.parse();
                let issuer = issuer.map_err(|error| Problem::invalid(call, format!("`issuer`: {error}")))?;
                Ok(Supposed::Identity { issuer, claims })
            }
            _ => Err(Problem::invalid(call, "give `agent` or `identity`")),
        }
    }

    fn request(self, call: Call) -> Result<TokenRequest, Problem> {
        if self.authorization_details.as_ref().is_some_and(Vec::is_empty) {
            return Err(Problem::invalid(call, "`authorization_details` must not be empty"));
        }
        // As the token endpoint, which does not take a blank one for none.
        if self.scope.as_ref().is_some_and(|scope| scope.trim().is_empty()) {
            return Err(Problem::invalid(
                call,
                "`scope` is blank: leave it out, or name what is to be explained",
            ));
        }
        let scope = self.scope.unwrap_or_default();
        Ok(TokenRequest {
            scope: scope.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            details: self.authorization_details.unwrap_or_default(),
            resources: match self.resource {
                None => Vec::new(),
                Some(Resource::One(origin)) => vec![origin],
                Some(Resource::Several(origins)) => origins,
            },
            // More than fits is more than is permitted, and gives what is permitted.
            ttl: self.requested_ttl.map(|ttl| u32::try_from(ttl.get()).unwrap_or(u32::MAX)),
        })
    }
}

fn unknown_agent(call: Call) -> Problem {
    Problem::not_found(call, "no registered agent has this id; GET /v1/agents lists them")
}

impl From<Grant> for Granted {
    fn from(grant: Grant) -> Self {
        Self {
            scope: grant.permissions.scope().to_string(),
            ttl: grant.ttl.into(),
            authorization_details: grant.permissions,
        }
    }
}

impl From<Denied> for Refused {
    fn from(Denied { reason, description, .. }: Denied) -> Self {
        let description = description.unwrap_or_else(|| reason.meaning().to_owned());
        Self { error: reason.error().as_str(), reason, description }
    }
}

impl From<Ruling> for Decided {
    fn from(ruling: Ruling) -> Self {
        Self { word: ruling.word, tier: ruling.tier, because: ruling.rule.as_str() }
    }
}

impl From<Miss> for Near {
    fn from(miss: Miss) -> Self {
        let mismatches = miss.mismatches.into_iter().map(|mismatch| Mismatch {
            claim: mismatch.claim,
            expected: mismatch.expected,
            given: mismatch.given,
        });
        Self { agent: miss.agent.to_string(), matched: miss.matched, mismatches: mismatches.collect() }
    }
}

impl From<Explained> for Answer {
    fn from(explained: Explained) -> Self {
        let (grant, refusal) = match explained.outcome {
            Ok(grant) => (Some(grant.into()), None),
            Err(denied) => (None, Some(denied.into())),
        };
        Self {
            outcome: if grant.is_some() { "granted" } else { "refused" },
            agent: explained.agent.as_ref().map(|agent| agent.id.to_string()),
            owner: explained.agent.as_ref().map(|agent| agent.owner.to_string()),
            require: explained.agent.as_ref().and_then(|agent| agent.requirement()),
            grant,
            refusal,
            actions: explained.rulings.into_iter().map(Decided::from).collect(),
            stopped_by: explained.stopped_by.as_ref().map(ToString::to_string),
            stops: explained.stops,
            nearest: explained.nearest.into_iter().map(Near::from).collect(),
            ambiguous: explained.several.iter().map(ToString::to_string).collect(),
            registry: explained.registry.to_string(),
        }
    }
}

/// A dry run: nothing is issued, nothing journaled, no issuer asked.
#[utoipa::path(post, path = "/v1/explain", request_body = Question,
    responses((status = 200, body = Answer), (status = 404, description = "No agent has this id")))]
pub(super) async fn explain(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    reads: Reads,
    request: Request<Body>,
) -> Result<Json<Answer>, Problem> {
    let mut question: Question = super::json(call, request).await?;
    let supposed = question.supposed(call)?;
    let request = question.request(call)?;
    let _reading = reads.begin(call).await?;
    let explained = gate.broker.explain(supposed, &request).await;
    let explained = explained.map_err(|denied| Problem::denied(call, &denied))?;
    Ok(Json(explained.ok_or_else(|| unknown_agent(call))?.into()))
}
