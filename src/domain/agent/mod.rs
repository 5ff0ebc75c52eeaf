//! A registered agent: who it is, who answers for it, what it may do.

#[cfg(test)]
pub(crate) mod example;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::guardrails::PRODUCTION;
use crate::domain::id::{AgentId, IssuerName, Owner, PermissionName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::key::PublicKey;
use crate::domain::pattern::ClaimPattern;
use crate::domain::permission::{Permission, ResourceKind};
use crate::domain::revocation::Holder;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub purpose: String,
    pub owner: Owner,
    pub max_ttl: Option<Duration>,
    pub tokens_per_minute: Option<u32>,
    /// Whether each of its tokens must be bound to a key of its holder.
    pub sender_constrained: bool,
    /// The agents to which it may hand a part of its token.
    pub may_delegate_to: BTreeSet<AgentId>,
    pub identities: Vec<IdentityRule>,
    pub permissions: Vec<Permission>,
}

/// One way an agent proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityRule {
    /// A token of this issuer whose string claims match every pattern.
    Claims { issuer: IssuerName, claims: BTreeMap<String, ClaimPattern> },
    /// An assertion signed by this key.
    Key(PublicKey),
}

impl IdentityRule {
    pub fn matches(&self, identity: &VerifiedIdentity) -> bool {
        match self {
            Self::Claims { issuer, claims } => {
                *issuer == identity.issuer
                    && claims.iter().all(|(name, rule)| {
                        identity.claims.get(name).is_some_and(|value| rule.matches(value))
                    })
            }
            Self::Key(key) => {
                identity.issuer.as_str() == IssuerName::KEY
                    && identity.subject == key.thumbprint().to_string()
            }
        }
    }

    /// Whether every identity that `other` matches is matched by this rule too, so that an agent
    /// known by `other` could never be told from one known by this.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(a), Self::Key(b)) => a == b,
            (Self::Claims { issuer: a, claims: wide }, Self::Claims { issuer: b, claims: narrow }) => {
                a == b
                    && wide
                        .iter()
                        .all(|(name, rule)| narrow.get(name).is_some_and(|other| rule.covers(other)))
            }
            _ => false,
        }
    }
}

impl Agent {
    /// What `require` says in the file of an agent whose tokens must be bound to a key.
    pub const SENDER_CONSTRAINED: &'static str = "sender-constrained";

    /// `require`, as the agent's file has it.
    pub fn requirement(&self) -> Option<&'static str> {
        self.sender_constrained.then_some(Self::SENDER_CONSTRAINED)
    }

    pub fn permission(&self, name: &PermissionName) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.name == *name)
    }

    /// The keys it is registered with.
    pub fn keys(&self) -> Vec<&PublicKey> {
        let keys = self.identities.iter().filter_map(|rule| match rule {
            IdentityRule::Key(key) => Some(key),
            IdentityRule::Claims { .. } => None,
        });
        keys.collect()
    }

    /// It, as a stop can hit it when `issuer` vouched for it.
    pub fn holder(&self, issuer: IssuerName) -> Holder {
        Holder { agent: self.id.clone(), owner: self.owner.clone(), issuer }
    }

    /// The issuers that can vouch for it; `key` stands for its registered keys.
    pub fn issuers(&self) -> BTreeSet<IssuerName> {
        let issuer = |rule: &IdentityRule| match rule {
            IdentityRule::Claims { issuer, .. } => issuer.clone(),
            IdentityRule::Key(_) => IssuerName::key(),
        };
        self.identities.iter().map(issuer).collect()
    }

    /// What the agent may do, in one sentence for people: what is free, what its owner has to approve,
    /// and who answers for it.
    pub fn sentence(&self) -> String {
        let Self { id, owner, permissions, .. } = self;
        let free: Vec<String> = permissions.iter().filter_map(free_clause).collect();
        let one_repository =
            permissions.iter().filter(|p| p.kind == ResourceKind::GitRepository).count() == 1;
        let gated: Vec<String> =
            permissions.iter().flat_map(|permission| gated_deeds(permission, one_repository)).collect();
        let free = join(&free, "do nothing without asking");
        let need = if gated.len() == 1 { "needs" } else { "need" };
        let heirs: Vec<String> = self.may_delegate_to.iter().map(ToString::to_string).collect();
        let heirs = match join(&heirs, "").as_str() {
            "" => String::new(),
            heirs => format!(" it may delegate to {heirs};"),
        };
        match join(&gated, "").as_str() {
            "" => format!("{id} may {free};{heirs} {owner} answers for it."),
            gated => format!("{id} may {free}; {gated} {need} {owner};{heirs} {owner} answers for it."),
        }
    }
}

/// `read and push agent/* in acme/payments`, `GET ledger`.
fn free_clause(permission: &Permission) -> Option<String> {
    if permission.free.is_empty() {
        return None;
    }
    let actions: Vec<String> = permission.free.iter().map(ToString::to_string).collect();
    let (actions, place) = (join(&actions, ""), place(permission));
    if permission.kind == ResourceKind::HttpEndpoint {
        return Some(format!("{actions} {place}"));
    }
    let refs: Vec<String> =
        permission.patterns.iter().map(|pattern| short_ref(pattern.as_str()).to_owned()).collect();
    let refs = join(&refs, "");
    let space = if refs.is_empty() { "" } else { " " };
    Some(format!("{actions}{space}{refs} in {place}"))
}

/// `merging`, or `merging in acme/payments` where there are more repositories; `POST ledger`.
fn gated_deeds(permission: &Permission, one_repository: bool) -> impl Iterator<Item = String> {
    let place = place(permission);
    permission.gated.iter().map(move |action| match permission.kind {
        ResourceKind::HttpEndpoint => format!("{action} {place}"),
        ResourceKind::GitRepository if one_repository => gerund(action.as_str()),
        ResourceKind::GitRepository => format!("{} in {place}", gerund(action.as_str())),
    })
}

/// A repository by its path, an endpoint by its name; production is said, for it is what people ask.
fn place(permission: &Permission) -> String {
    let location = &permission.location;
    let path = location.as_str()[location.origin().as_str().len()..].trim_start_matches('/');
    let place = match permission.kind {
        ResourceKind::GitRepository if !path.is_empty() => path,
        _ => permission.name.as_str(),
    };
    match permission.environment.as_deref() {
        Some(PRODUCTION) => format!("{place} ({PRODUCTION})"),
        _ => place.to_owned(),
    }
}

/// `merge` → `merging`. What is no plain verb, such as `secrets:read`, stays as it is.
fn gerund(action: &str) -> String {
    let vowel = |b: u8| b"aeiou".contains(&b);
    match action.as_bytes() {
        bytes if !bytes.iter().all(u8::is_ascii_lowercase) => action.to_owned(),
        [.., b'e', b'e'] | [_, b'e'] => format!("{action}ing"),
        [stem @ .., b'e'] => format!("{}ing", &action[..stem.len()]),
        // `tag` → `tagging`, `commit` → `committing`.
        [a, b, c] if !vowel(*a) && vowel(*b) && !vowel(*c) && !b"wxy".contains(c) => {
            format!("{action}{}ing", char::from(*c))
        }
        [.., b'm', b'i', b't'] => format!("{action}ting"),
        _ => format!("{action}ing"),
    }
}

fn short_ref(pattern: &str) -> &str {
    pattern.strip_prefix("refs/heads/").unwrap_or(pattern)
}

/// `a, b and c`; `nothing` where there is none.
fn join(words: &[String], nothing: &str) -> String {
    match words {
        [] => nothing.to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
