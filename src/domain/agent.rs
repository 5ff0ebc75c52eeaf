//! A registered agent: who it is, who answers for it, what it may do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::id::{AgentId, IssuerName, Owner, PermissionName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::key::PublicKey;
use crate::domain::pattern::ClaimPattern;
use crate::domain::permission::{Permission, Tier};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub purpose: String,
    pub owner: Owner,
    pub max_ttl: Option<Duration>,
    pub tokens_per_minute: Option<u32>,
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
    pub fn permission(&self, name: &PermissionName) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.name == *name)
    }

    /// What the agent may do, in one sentence for people.
    pub fn sentence(&self) -> String {
        let clauses: Vec<String> =
            self.permissions.iter().filter_map(|p| self.clause(p, Tier::Free)).collect();
        let gated: Vec<String> =
            self.permissions.iter().filter_map(|p| self.clause(p, Tier::Gated)).collect();
        let mut sentence = format!("{} may {}", self.id, join(&clauses, "do nothing freely"));
        if !gated.is_empty() {
            sentence.push_str(&format!("; to {} it needs {}", join(&gated, ""), self.owner));
        }
        sentence.push_str(&format!("; {} answers for it.", self.owner));
        sentence
    }

    fn clause(&self, permission: &Permission, tier: Tier) -> Option<String> {
        let actions = if tier == Tier::Free { &permission.free } else { &permission.gated };
        if actions.is_empty() {
            return None;
        }
        let verbs: Vec<String> = actions.iter().map(ToString::to_string).collect();
        let limits: Vec<String> =
            permission.patterns.iter().map(|p| short_ref(p.as_str()).to_owned()).collect();
        let limits = if limits.is_empty() { String::new() } else { format!(" {}", join(&limits, "")) };
        let place = permission.location.as_str().trim_start_matches("https://");
        let environment = permission.environment.as_ref().map(|e| format!(" ({e})")).unwrap_or_default();
        Some(format!("{}{limits} in {place}{environment}", join(&verbs, "")))
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
