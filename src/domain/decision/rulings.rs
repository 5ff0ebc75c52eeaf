//! Which rule decides on each action: what [`decide`](super::decide) goes by, said one by one.

use std::collections::BTreeSet;

use super::{Selection, narrow};
use crate::domain::agent::Agent;
use crate::domain::guardrails::{Guardrail, Guardrails};
use crate::domain::pattern::Pattern;
use crate::domain::permission::{Action, GrantedPermission, Permission, Tier};
use crate::domain::request::{DetailRequest, TokenRequest};

/// What decides on one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The agent's file lists it, and no guardrail is stricter.
    Listed(Tier),
    /// The agent's file does not list it.
    Unlisted,
    /// The agent's file lists it, but not at this place, or with narrower refs or paths.
    BeyondLimits,
    /// The agent's file lists it at another origin than the request's `resource`.
    OtherResource,
    Guardrail(Guardrail),
}

impl Rule {
    /// The key that holds the rule, in the agent's file, the configuration or the request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed(Tier::Free) => "file.free",
            Self::Listed(Tier::Gated) => "file.gated",
            Self::Listed(Tier::Forbidden) | Self::Unlisted => "file.unlisted",
            Self::BeyondLimits => "file.limits",
            Self::OtherResource => "request.resource",
            Self::Guardrail(Guardrail::Never) => "guardrails.never",
            Self::Guardrail(Guardrail::ProtectedRefs) => "guardrails.protected_refs",
            Self::Guardrail(Guardrail::AlwaysGated) => "guardrails.always_gated",
            Self::Guardrail(Guardrail::Production) => "guardrails.production",
        }
    }
}

/// What is so of one action, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// `<permission name>:<action>`, or the word of `scope` that was asked.
    pub word: String,
    pub tier: Tier,
    pub rule: Rule,
}

/// The tier of `action`, the stricter of what the file and the guardrails say, and what says it. Where
/// both say the same it is the file.
pub(super) fn rule(
    permission: &Permission,
    guardrails: &Guardrails,
    action: &Action,
    patterns: &[Pattern],
) -> (Tier, Rule) {
    let file = permission.tier(action);
    match guardrails.strictest(action, permission.environment.as_deref(), patterns) {
        (tier, Some(guardrail)) if tier > file => (tier, Rule::Guardrail(guardrail)),
        _ if file == Tier::Forbidden => (file, Rule::Unlisted),
        _ => (file, Rule::Listed(file)),
    }
}

/// A ruling on each action that `request` names; on every registered one where it names none. None on a request
/// that names too much: it is refused for that alone.
pub fn rulings(agent: &Agent, guardrails: &Guardrails, request: &TokenRequest) -> Vec<Ruling> {
    if request.check_bounds().is_err() {
        return Vec::new();
    }
    // Of a `resource` that is not registered the decision speaks; the actions are explained without it.
    let selection = Selection::of(agent, &request.resources);
    let selection = selection.unwrap_or_else(|_| Selection::everywhere(agent));
    let explaining = Explaining { selection, guardrails };
    let rulings = if request.scope.is_empty() && request.details.is_empty() {
        explaining.everything()
    } else {
        let words = request.scope.iter().map(|word| explaining.word(word));
        words.chain(request.details.iter().flat_map(|detail| explaining.detail(detail))).collect()
    };
    let mut unique: Vec<Ruling> = Vec::with_capacity(rulings.len());
    for ruling in rulings {
        if !unique.contains(&ruling) {
            unique.push(ruling);
        }
    }
    unique
}

struct Explaining<'a> {
    selection: Selection<'a>,
    guardrails: &'a Guardrails,
}

impl Explaining<'_> {
    fn ruling(&self, permission: &Permission, action: &Action, patterns: &[Pattern]) -> Ruling {
        let (tier, rule) = rule(permission, self.guardrails, action, patterns);
        Ruling { word: format!("{}:{action}", permission.name), tier, rule }
    }

    fn everything(&self) -> Vec<Ruling> {
        let each = self.selection.permissions.iter().flat_map(|permission| {
            let listed = permission.free.iter().chain(&permission.gated);
            listed.map(|action| self.ruling(permission, action, &permission.patterns))
        });
        each.collect()
    }

    fn word(&self, word: &str) -> Ruling {
        let parts = word.split_once(':').and_then(|(name, action)| Some((name, action.parse().ok()?)));
        let known = parts.and_then(|(name, action)| Some((self.selection.named(name)?, action)));
        match known {
            Some((permission, action)) => self.ruling(permission, &action, &permission.patterns),
            None => self.unknown(word.split(':').next().unwrap_or_default(), word.to_owned()),
        }
    }

    /// Why a name is none of the selected permissions.
    fn unknown(&self, name: &str, word: String) -> Ruling {
        // It is none that the selection holds.
        let elsewhere = self.selection.agent.permissions.iter().any(|p| p.name.as_str() == name)
            && self.selection.named(name).is_none();
        let rule = if elsewhere { Rule::OtherResource } else { Rule::Unlisted };
        Ruling { word, tier: Tier::Forbidden, rule }
    }

    /// Nothing for an element that is not well formed: the decision says what is wrong with it.
    fn detail(&self, asked: &DetailRequest) -> Vec<Ruling> {
        let name = &asked.identifier;
        let Some(permission) = self.selection.named(name).filter(|p| p.kind.as_str() == asked.kind) else {
            let actions = asked.actions.as_deref().unwrap_or_default();
            return actions.iter().map(|action| self.unknown(name, format!("{name}:{action}"))).collect();
        };
        let registered = permission.granting(permission.free.union(&permission.gated).cloned());
        let Ok(element) = narrow(&registered, &permission.free, asked) else { return Vec::new() };
        let place = GrantedPermission { actions: BTreeSet::new(), ..element.clone() };
        let within = registered.covers(&place);
        let ruling = |action: &Action| {
            let ruling = self.ruling(permission, action, element.patterns());
            match ruling.rule {
                Rule::Listed(_) | Rule::Guardrail(_) if !within && registered.actions.contains(action) => {
                    Ruling { tier: Tier::Forbidden, rule: Rule::BeyondLimits, ..ruling }
                }
                _ => ruling,
            }
        };
        element.actions.iter().map(ruling).collect()
    }
}
