//! What an access token says (RFC 9068 §2.2, RFC 9396 §9.1), and the token itself.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::domain::agent::Agent;
use crate::domain::confirmation::{Confirmation, token_type};
use crate::domain::digest::Digest;
use crate::domain::grant::{Grant, Permissions};
use crate::domain::id::{AgentId, Owner, TokenId};
use crate::domain::identity::{VerifiedIdentity, Workload};
use crate::domain::optional::present;
use crate::domain::permission::Origin;
use crate::domain::receipt::Receipt;
use crate::domain::revocation::{Holder, Levels, Revision};
use crate::domain::time::{NumericDate, Timestamp};

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

/// `act` (RFC 8693 §4.1): who acts, and for whom it acts in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub sub: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub act: Option<Box<Actor>>,
}

/// A token that another was handed down from: what can stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestor {
    pub jti: TokenId,
    pub client_id: AgentId,
    pub owner: Owner,
    /// The `as_of` of that token.
    #[serde(default)]
    pub as_of: Revision,
    #[serde(deserialize_with = "workload_with_issuer")]
    pub workload: Workload,
}

/// The claims of one access token. Read strictly: every member but `as_of`, `act`, `parents` and `cnf` is required, none
/// may be repeated, and none may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub iss: Arc<str>,
    pub sub: Subject,
    pub client_id: AgentId,
    /// The origins in the grant; an array even of one.
    pub aud: Vec<Origin>,
    pub iat: NumericDate,
    pub nbf: NumericDate,
    /// The first second in which the token is dead.
    pub exp: NumericDate,
    pub jti: TokenId,
    pub owner: Owner,
    /// The last change of the kill switch that was known when the token was decided. A token without it was decided
    /// before the first.
    #[serde(default)]
    pub as_of: Revision,
    pub scope: Arc<str>,
    pub authorization_details: Permissions,
    /// `sha256:…` of the registry revision that decided.
    pub registry: Arc<str>,
    #[serde(deserialize_with = "workload_with_issuer")]
    pub workload: Workload,
    /// Who acts, where the token was handed down (RFC 8693 §4.1): its holder, and those between it and `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub act: Option<Actor>,
    /// The tokens that it was handed down from, the nearest first. A stop of any of them kills it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Ancestor>,
    /// What the token is bound to; a bearer token has none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub cnf: Option<Confirmation>,
}

impl Claims {
    /// The claims of a bearer token issued at `now` that lives as long as `grant` says, decided before the first change of
    /// the kill switch.
    pub fn new(
        issuer: &Arc<str>,
        agent: &Agent,
        identity: &VerifiedIdentity,
        grant: &Grant,
        registry: &Arc<str>,
        jti: TokenId,
        now: Timestamp,
    ) -> Self {
        let iat = NumericDate::from(now);
        Self {
            iss: Arc::clone(issuer),
            sub: Subject(agent.id.clone()),
            client_id: agent.id.clone(),
            aud: grant.permissions.audience(),
            iat,
            nbf: iat,
            exp: iat + grant.ttl.into(),
            jti,
            owner: agent.owner.clone(),
            as_of: Revision::ZERO,
            scope: grant.permissions.scope(),
            authorization_details: grant.permissions.clone(),
            registry: Arc::clone(registry),
            workload: identity.workload(),
            act: None,
            parents: Vec::new(),
            cnf: None,
        }
    }

    /// The same, handed down from the token of `parent`: `sub` stays who it was, and the holder acts for it.
    pub fn handed_down(self, parent: &Claims) -> Self {
        let mut parents = Vec::with_capacity(1 + parent.parents.len());
        parents.push(Ancestor {
            jti: parent.jti,
            client_id: parent.client_id.clone(),
            owner: parent.owner.clone(),
            as_of: parent.as_of,
            workload: parent.workload.clone(),
        });
        parents.extend(parent.parents.iter().cloned());
        let act = Actor { sub: Subject(self.client_id.clone()), act: parent.act.clone().map(Box::new) };
        Self { sub: parent.sub.clone(), act: Some(act), parents, ..self }
    }

    /// Whether `sub`, `act` and `parents` tell one story.
    pub fn is_consistent(&self) -> bool {
        let Some(first) = self.parents.last() else {
            return self.act.is_none() && self.sub.0 == self.client_id;
        };
        let between = &self.parents[..self.parents.len() - 1];
        let holders = std::iter::once(&self.client_id).chain(between.iter().map(|parent| &parent.client_id));
        let actors = std::iter::successors(self.act.as_ref(), |actor| actor.act.as_deref());
        self.sub.0 == first.client_id && actors.map(|actor| &actor.sub.0).eq(holders)
    }

    /// `token_type` of the token (RFC 6749 §7.1, RFC 9449 §5).
    pub fn token_type(&self) -> &'static str {
        token_type(self.cnf)
    }

    /// The levels whose stop kills this token.
    pub fn levels(&self) -> Levels {
        let holder = |agent: &AgentId, owner: &Owner, workload: &Workload| Holder {
            agent: agent.clone(),
            owner: owner.clone(),
            issuer: workload
                .issuer()
                .expect("a workload begins with its issuer: `new` writes it so and reading refuses others"),
        };
        let own = holder(&self.client_id, &self.owner, &self.workload);
        let farthest_first = self.parents.iter().rev().map(|parent| {
            (parent.jti, parent.as_of, holder(&parent.client_id, &parent.owner, &parent.workload))
        });
        Levels::of_chain(farthest_first.chain([(self.jti, self.as_of, own)]))
            .expect("a token is a chain of at least itself")
    }
}

/// A token whose issuer cannot be told could not be killed by a stop of that issuer.
fn workload_with_issuer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Workload, D::Error> {
    let workload = Workload::deserialize(deserializer)?;
    match workload.issuer() {
        Some(_) => Ok(workload),
        None => Err(serde::de::Error::custom("`workload` is issuer|subject")),
    }
}

/// A signed access token whose event is not on disk yet. It cannot be read before the store's receipt opens it.
#[derive(Debug)]
pub struct UnreleasedToken {
    token: AccessToken,
    id: TokenId,
    sha256: Digest,
}

impl UnreleasedToken {
    pub(super) fn new(token: Zeroizing<String>, id: TokenId) -> Self {
        let token = AccessToken(token);
        Self { sha256: token.sha256(), token, id }
    }

    pub fn id(&self) -> TokenId {
        self.id
    }

    /// For its event.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The token itself, once its event is durable; none for the receipt of another.
    pub fn release(self, receipt: &Receipt) -> Option<AccessToken> {
        receipt.is_of(self.sha256).then_some(self.token)
    }
}

/// A signed access token: whoever holds it can use it. Never logged, stored as its SHA-256 alone.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
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
