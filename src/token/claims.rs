//! What an access token says (RFC 9068 §2.2, RFC 9396 §9.1), and the token itself.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::domain::agent::Agent;
use crate::domain::confirmation::{Confirmation, token_type};
use crate::domain::digest::Digest;
use crate::domain::grant::Grant;
use crate::domain::id::{AgentId, Owner, TokenId};
use crate::domain::identity::{VerifiedIdentity, Workload};
use crate::domain::permission::{GrantedPermission, Origin};
use crate::domain::revocation::Levels;
use crate::domain::time::Timestamp;

/// `sub`: `agent:<id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(pub AgentId);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent:{}", self.0)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = text.strip_prefix("agent:").and_then(|id| id.parse().ok());
        id.map(Self).ok_or_else(|| serde::de::Error::custom("`sub` is agent:<id>"))
    }
}

/// The claims of one access token. Read strictly: every member but `cnf` is required, none may be repeated,
/// and none may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub iss: String,
    pub sub: Subject,
    pub client_id: AgentId,
    /// The origins in the grant; an array even of one.
    pub aud: Vec<Origin>,
    /// Whole seconds since the epoch, as are `nbf` and `exp`.
    pub iat: i64,
    pub nbf: i64,
    /// The first second in which the token is dead.
    pub exp: i64,
    pub jti: TokenId,
    pub owner: Owner,
    pub scope: String,
    pub authorization_details: Vec<GrantedPermission>,
    /// `sha256:…` of the registry revision that decided.
    pub registry: String,
    #[serde(deserialize_with = "workload_with_issuer")]
    pub workload: Workload,
    /// What the token is bound to; a bearer token has none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub cnf: Option<Confirmation>,
}

impl Claims {
    /// The claims of a bearer token issued at `now` that lives as long as `grant` says.
    pub fn new(
        issuer: &str,
        agent: &Agent,
        identity: &VerifiedIdentity,
        grant: &Grant,
        registry: &str,
        jti: TokenId,
        now: Timestamp,
    ) -> Self {
        let iat = now.seconds();
        let life = i64::try_from(grant.ttl.as_secs()).unwrap_or(i64::MAX);
        Self {
            iss: issuer.to_owned(),
            sub: Subject(agent.id.clone()),
            client_id: agent.id.clone(),
            aud: grant.audience().into_iter().collect(),
            iat,
            nbf: iat,
            exp: iat.saturating_add(life),
            jti,
            owner: agent.owner.clone(),
            scope: grant.scope(),
            authorization_details: grant.permissions.clone(),
            registry: registry.to_owned(),
            workload: identity.workload(),
            cnf: None,
        }
    }

    /// `token_type` of the token (RFC 6749 §7.1, RFC 9449 §5).
    pub fn token_type(&self) -> &'static str {
        token_type(self.cnf)
    }

    /// The levels whose stop kills this token.
    pub fn levels(&self) -> Levels {
        Levels {
            tokens: vec![self.jti],
            agent: self.client_id.clone(),
            owner: self.owner.clone(),
            issuer: self
                .workload
                .issuer()
                .expect("a workload begins with its issuer: `new` writes it so and reading refuses others"),
        }
    }
}

/// A `cnf` that is there: `null` is none that this broker writes.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Confirmation>, D::Error> {
    Confirmation::deserialize(deserializer).map(Some)
}

/// A token whose issuer cannot be told could not be killed by a stop of that issuer.
fn workload_with_issuer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Workload, D::Error> {
    let workload = Workload::deserialize(deserializer)?;
    match workload.issuer() {
        Some(_) => Ok(workload),
        None => Err(serde::de::Error::custom("`workload` is issuer|subject")),
    }
}

/// A signed access token: whoever holds it can use it. Never logged, stored as its SHA-256 alone.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    pub(super) fn new(token: Zeroizing<String>) -> Self {
        Self(token)
    }

    /// The token, for the answer to its agent and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// By which events and caches know it.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}
