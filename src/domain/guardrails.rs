//! What no agent's file may exceed, whoever wrote it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::pattern::Pattern;
use crate::domain::permission::{Action, Tier};

/// No token of any agent lives longer, whatever the configuration says. Lifted stops are remembered
/// at least as long, so that a token issued before a stop can never outlive the memory of it.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The environment that `production` rules.
pub const PRODUCTION: &str = "production";

/// The guardrail that decides on one action, by its key in `[guardrails]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guardrail {
    Never,
    ProtectedRefs,
    AlwaysGated,
    Production,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guardrails {
    /// What a token lives when nothing asks for less: `token.ttl`.
    pub ttl: Duration,
    pub max_ttl: Duration,
    /// No agent may push here.
    pub protected_refs: Vec<Pattern>,
    pub always_gated: BTreeSet<Action>,
    pub never: BTreeSet<Action>,
    /// The least strict tier of any action in production.
    pub production: Tier,
    /// How many hands a token may go through; 0 where nobody may delegate.
    pub max_delegation_depth: u32,
}

impl Guardrails {
    /// The least strict tier at which `action` may be had in `environment` with these `patterns`.
    pub fn tier(&self, action: &Action, environment: Option<&str>, patterns: &[Pattern]) -> Tier {
        self.strictest(action, environment, patterns).0
    }

    /// The same, with the guardrail that says so; none where all of them leave the action free.
    pub fn strictest(
        &self,
        action: &Action,
        environment: Option<&str>,
        patterns: &[Pattern],
    ) -> (Tier, Option<Guardrail>) {
        let (named, guardrail) = if self.never.contains(action) {
            (Tier::Forbidden, Some(Guardrail::Never))
        } else if self.reaches_protected(action, patterns) {
            (Tier::Forbidden, Some(Guardrail::ProtectedRefs))
        } else if self.always_gated.contains(action) {
            (Tier::Gated, Some(Guardrail::AlwaysGated))
        } else {
            (Tier::Free, None)
        };
        let production = if environment == Some(PRODUCTION) { self.production } else { Tier::Free };
        if production > named { (production, Some(Guardrail::Production)) } else { (named, guardrail) }
    }

    /// Whether `action` changes refs and one of `patterns` can match a protected ref. Without
    /// patterns every ref can be reached.
    pub fn reaches_protected(&self, action: &Action, patterns: &[Pattern]) -> bool {
        let reached =
            |protected: &Pattern| patterns.is_empty() || patterns.iter().any(|p| p.overlaps(protected));
        action.writes_refs() && self.protected_refs.iter().any(reached)
    }

    /// The longest life of a token of an agent whose own limit is `agent_max`.
    pub fn lifetime(&self, agent_max: Option<Duration>) -> Duration {
        let limit = self.ttl.min(self.max_ttl).min(MAX_TOKEN_LIFETIME);
        agent_max.map_or(limit, |max| max.min(limit))
    }
}
