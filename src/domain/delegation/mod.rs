//! Delegation: what an agent's token may become in the hands of another.
//!
//! A sub-agent's grant is what it asks for, of what its own file registers, of what its parent's token holds:
//! each may only take away. Names of permissions are each file's own, so two grants are compared by what
//! they open: kind, place, environment, actions and patterns.

use std::time::Duration;

use crate::domain::agent::Agent;
use crate::domain::grant::{Grant, Permissions};
use crate::domain::guardrails::Guardrails;
use crate::domain::id::AgentId;
use crate::domain::pattern::Pattern;
use crate::domain::permission::{Action, GrantedPermission, ResourceKind, Tier};
use crate::domain::reason::Reason;
use crate::domain::request::TokenRequest;

use crate::domain::decision::Refusal;

/// What a parent's token is worth now to those who are handed a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inheritance {
    pub permissions: Permissions,
    /// Until the parent's token ends.
    pub lifetime: Duration,
}

/// Whether an agent of `chain` (the parent first, then its own parents) may hand a token to `child`.
pub fn may_delegate(
    parent: &Agent,
    chain: &[&AgentId],
    child: &AgentId,
    guardrails: &Guardrails,
) -> Result<(), Refusal> {
    if !parent.may_delegate_to.contains(child) {
        return Err(Refusal {
            reason: Reason::DelegationNotRegistered,
            description: format!("{} may not delegate to {child}: may_delegate_to in its file", parent.id),
        });
    }
    let depth = u32::try_from(chain.len()).unwrap_or(u32::MAX);
    if depth > guardrails.max_delegation_depth {
        return Err(Refusal {
            reason: Reason::DelegationTooDeep,
            description: format!("guardrails.max_delegation_depth is {}", guardrails.max_delegation_depth),
        });
    }
    if chain.contains(&child) {
        return Err(Refusal {
            reason: Reason::DelegationTooDeep,
            description: format!("{child} is in the chain already"),
        });
    }
    Ok(())
}

/// What of a parent's granted `permissions` its file and the guardrails still leave free.
pub fn still_granted(
    parent: &Agent,
    permissions: &[GrantedPermission],
    guardrails: &Guardrails,
) -> Permissions {
    let registered = |granted: &GrantedPermission| {
        let permission = parent.permission(&granted.identifier)?;
        let free = |action: &&Action| {
            let patterns = granted.patterns();
            let guarded = guardrails.tier(action, permission.environment.as_deref(), patterns);
            permission.tier(action).max(guarded) == Tier::Free
        };
        common(granted, &permission.granting(permission.free.iter().filter(free).cloned()))
    };
    permissions.iter().filter_map(registered).collect()
}

/// Cuts a child's `grant` to what its parent left it.
///
/// # Errors
/// `BeyondParent`, with every word that the parent's token does not hold, and in which respect it differs. What no
/// request names is left out instead, as long as something remains.
pub fn inherit(grant: Grant, request: &TokenRequest, from: &Inheritance) -> Result<Grant, Refusal> {
    let mut permissions = Vec::new();
    let mut beyond = Vec::new();
    let mut because = Vec::new();
    let explicit = !request.scope.is_empty() || !request.details.is_empty();
    for wanted in &grant.permissions {
        let held: Vec<GrantedPermission> =
            from.permissions.iter().filter_map(|parent| common(wanted, parent)).collect();
        if held.is_empty() {
            because.extend(difference(wanted, &from.permissions));
        }
        let lacks = |action: &&Action| !held.iter().any(|part| part.actions.contains(*action));
        beyond.extend(
            wanted.actions.iter().filter(lacks).map(|action| format!("{}:{action}", wanted.identifier)),
        );
        // What was spelled out is given as it was spelled or not at all.
        if limits_are_named(request, wanted) && !held.iter().any(|part| part.patterns() == wanted.patterns())
        {
            let limits = wanted.patterns().iter().map(|pattern| format!("{} {pattern}", wanted.identifier));
            beyond.extend(limits);
        }
        permissions.extend(held);
    }
    if (explicit && !beyond.is_empty()) || permissions.is_empty() {
        beyond.dedup();
        let words = if beyond.is_empty() { "everything".to_owned() } else { beyond.join(", ") };
        because.dedup();
        let because: String = because.iter().map(|why| format!("; {why}")).collect();
        let description = format!("{words}: more than the parent's token holds{because}");
        return Err(Refusal { reason: Reason::BeyondParent, description });
    }
    Ok(Grant { permissions: distinct(permissions).into(), ttl: grant.ttl.min(from.lifetime) })
}

/// In which respect nothing of `wanted` is in `parent`: the place, the environment, or the refs or paths. None where it
/// is the actions, which the words of the refusal name already.
fn difference(wanted: &GrantedPermission, parent: &[GrantedPermission]) -> Option<String> {
    let name = &wanted.identifier;
    let shares = |held: &&GrantedPermission| held.locations.iter().any(|at| wanted.locations.contains(at));
    let here: Vec<_> = parent.iter().filter(|held| held.kind == wanted.kind).filter(shares).collect();
    if here.is_empty() {
        let places: Vec<String> = wanted.locations.iter().map(ToString::to_string).collect();
        return Some(format!("{name} is at {}, and the parent's token has nothing there", places.join(", ")));
    }
    let alike: Vec<_> = here.iter().filter(|held| held.environment == wanted.environment).collect();
    if alike.is_empty() {
        let environment = |permission: &GrantedPermission| match &permission.environment {
            Some(environment) => format!("the environment {environment}"),
            None => "no environment".to_owned(),
        };
        let mut others: Vec<String> = here.iter().map(|held| environment(held)).collect();
        others.dedup();
        let (own, others) = (environment(wanted), others.join(" or "));
        return Some(format!(
            "{name} is registered in {own}, and the parent's token has that place in {others}"
        ));
    }
    if alike.iter().any(|held| common_patterns(wanted.patterns(), held.patterns()).is_some()) {
        return None;
    }
    let what = if wanted.kind == ResourceKind::GitRepository { "refs" } else { "paths" };
    let patterns: Vec<String> =
        alike.iter().flat_map(|held| held.patterns()).map(ToString::to_string).collect();
    Some(format!("the {what} of {name} are none that the parent's token has there ({})", patterns.join(", ")))
}

fn limits_are_named(request: &TokenRequest, wanted: &GrantedPermission) -> bool {
    request.details.iter().any(|detail| {
        detail.identifier == wanted.identifier.as_str() && (detail.refs.is_some() || detail.paths.is_some())
    })
}

/// What both allow, under the first one's name; `None` where that is nothing.
fn common(a: &GrantedPermission, b: &GrantedPermission) -> Option<GrantedPermission> {
    if a.kind != b.kind || a.environment != b.environment {
        return None;
    }
    let locations: Vec<_> = a.locations.iter().filter(|at| b.locations.contains(at)).cloned().collect();
    let actions: std::collections::BTreeSet<_> = a.actions.intersection(&b.actions).cloned().collect();
    let patterns = common_patterns(a.patterns(), b.patterns())?;
    if locations.is_empty() || actions.is_empty() {
        return None;
    }
    let (refs, paths) = match a.kind {
        ResourceKind::GitRepository => (patterns, Vec::new()),
        ResourceKind::HttpEndpoint => (Vec::new(), patterns),
    };
    Some(GrantedPermission { locations, actions, refs, paths, ..a.clone() })
}

/// Of two lists of patterns, where an empty one limits nothing, each pattern that the other list covers. Two
/// that only overlap give nothing: what they have in common has no pattern of its own.
fn common_patterns(a: &[Pattern], b: &[Pattern]) -> Option<Vec<Pattern>> {
    match (a, b) {
        ([], all) | (all, []) => Some(all.to_vec()),
        _ => {
            let covered = |pattern: &&Pattern, by: &[Pattern]| by.iter().any(|wide| wide.covers(pattern));
            let mut common: Vec<Pattern> = a.iter().filter(|pattern| covered(pattern, b)).cloned().collect();
            for pattern in b.iter().filter(|pattern| covered(pattern, a)) {
                if !common.contains(pattern) {
                    common.push(pattern.clone());
                }
            }
            (!common.is_empty()).then_some(common)
        }
    }
}

fn distinct(permissions: Vec<GrantedPermission>) -> Vec<GrantedPermission> {
    let mut kept: Vec<GrantedPermission> = Vec::with_capacity(permissions.len());
    for permission in permissions {
        if !kept.iter().any(|other| other.covers(&permission)) {
            kept.retain(|other| !permission.covers(other));
            kept.push(permission);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
