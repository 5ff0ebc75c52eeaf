//! The decision: may this agent have what it asks for, now?
//!
//! A pure function of the agent, the guardrails, the request and the kill switch. It refuses, says that a person has to
//! approve, or grants all that was asked: it never trims a request in silence. Each refusal names every word
//! that failed, for the agent is known and may be told (law 8).

mod place;
mod rulings;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::agent::Agent;
use crate::domain::grant::Grant;
use crate::domain::guardrails::Guardrails;
use crate::domain::id::Owner;
use crate::domain::permission::{
    Action, GrantedPermission, Location, Permission, ResourceKind, Tier, patterns_cover,
};
use crate::domain::reason::Reason;
use crate::domain::redaction::{is_credential, redacted};
use crate::domain::request::{DetailRequest, TokenRequest, TooMuch};
use crate::domain::revocation::Target;

use rulings::rule;
pub use rulings::{Rule, Ruling, rulings};

/// Why a request was refused, in words that its sender may read. It repeats what was asked for, but no token that
/// somebody put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub description: String,
}

impl Refusal {
    fn new(reason: Reason, description: impl Into<String>) -> Self {
        Self { reason, description: redacted(&description.into(), is_credential) }
    }

    fn naming(reason: Reason, failed: &[String], what: &str) -> Self {
        Self::new(reason, format!("{}: {what}", failed.join(", ")))
    }
}

impl From<TooMuch> for Refusal {
    fn from(too_much: TooMuch) -> Self {
        let reason = match too_much {
            TooMuch::ScopeWords | TooMuch::Resources => Reason::ParameterInvalid,
            TooMuch::Bytes | TooMuch::Elements | TooMuch::Patterns => Reason::DetailsInvalid,
        };
        Self::new(reason, too_much.to_string())
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Granted(Grant),
    /// A person has to approve it first.
    NeedsApproval(NeedsApproval),
    Refused(Refusal),
}

/// What of a request is gated, and who may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsApproval {
    /// Each gated action as a scope word.
    pub words: Vec<String>,
    /// The team whose members approve.
    pub approver: Owner,
}

impl Decision {
    /// The grant, where nobody has to be asked.
    ///
    /// # Errors
    /// The refusal, or that an approval is missing (`approval_required`).
    pub fn granted(self) -> Result<Grant, Refusal> {
        match self {
            Self::Granted(grant) => Ok(grant),
            Self::Refused(refusal) => Err(refusal),
            Self::NeedsApproval(NeedsApproval { words, approver }) => {
                let what = format!("gated: it needs an approval by {approver}");
                Err(Refusal::naming(Reason::ApprovalRequired, &words, &what))
            }
        }
    }
}

/// Decides `request` by `agent`; `stopped` is the widest stopped level that covers it.
pub fn decide(
    agent: &Agent,
    guardrails: &Guardrails,
    request: &TokenRequest,
    stopped: Option<&Target>,
) -> Decision {
    match refuse_stopped(agent, stopped) {
        Ok(()) => grant(agent, guardrails, request),
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// The first half of a decision: refuses what the kill switch stops.
pub fn refuse_stopped(agent: &Agent, stopped: Option<&Target>) -> Result<(), Refusal> {
    match stopped {
        None => Ok(()),
        Some(target) => Err(Refusal::new(
            Reason::Revoked,
            format!("{target} is stopped until an admin lifts the stop; ask {}", agent.owner),
        )),
    }
}

/// The other half, which is the same for as long as file, guardrails and request are.
pub fn grant(agent: &Agent, guardrails: &Guardrails, request: &TokenRequest) -> Decision {
    judge(agent, guardrails, request).unwrap_or_else(Decision::Refused)
}

fn judge(agent: &Agent, guardrails: &Guardrails, request: &TokenRequest) -> Result<Decision, Refusal> {
    request.check_bounds()?;
    let selection = Selection::of(agent, &request.resources)?;
    let mut gated = Vec::new();
    let wanted = if request.scope.is_empty() && request.details.is_empty() {
        selection.everything_free(guardrails)?
    } else {
        let mut wanted = selection.by_scope(&request.scope)?;
        for element in selection.by_details(&request.details)? {
            join(&mut wanted, element);
        }
        gated = gated_words(&wanted, agent, guardrails)?;
        wanted
    };
    if !gated.is_empty() {
        return Ok(Decision::NeedsApproval(NeedsApproval { words: gated, approver: agent.owner.clone() }));
    }
    selection.every_resource_used(&wanted)?;
    let limit = guardrails.lifetime(agent.max_ttl);
    let ttl = request.ttl.map_or(limit, |ttl| limit.min(Duration::from_secs(u64::from(ttl))));
    Ok(Decision::Granted(Grant { permissions: wanted.into(), ttl }))
}

/// Adds an element unless it is there already, and drops what it makes superfluous.
fn join(wanted: &mut Vec<GrantedPermission>, element: GrantedPermission) {
    if wanted.iter().any(|present| present.covers(&element)) {
        return;
    }
    wanted.retain(|present| !element.covers(present));
    wanted.push(element);
}

/// Refuses what is forbidden, and gives the words that a person has to approve.
fn gated_words(
    wanted: &[GrantedPermission],
    agent: &Agent,
    guardrails: &Guardrails,
) -> Result<Vec<String>, Refusal> {
    let words_of = |strict: Tier| -> Vec<String> {
        let elements =
            wanted.iter().filter_map(|element| Some((element, agent.permission(&element.identifier)?)));
        elements
            .flat_map(|(element, permission)| {
                let held = move |action: &&Action| {
                    rule(permission, guardrails, action, element.patterns()).0 == strict
                };
                element.actions.iter().filter(held).map(|action| format!("{}:{action}", element.identifier))
            })
            .collect()
    };
    let forbidden = words_of(Tier::Forbidden);
    if !forbidden.is_empty() {
        return Err(Refusal::naming(Reason::Forbidden, &forbidden, "the guardrails forbid it"));
    }
    Ok(words_of(Tier::Gated))
}

/// The agent's permissions at what `resource` and `audience` named (RFC 8707 §2); all without any.
struct Selection<'a> {
    agent: &'a Agent,
    places: BTreeSet<Location>,
    /// Of an endpoint of which a path was named, that path alone.
    permissions: Vec<Cow<'a, Permission>>,
}

impl<'a> Selection<'a> {
    /// Of a request that names no place.
    fn everywhere(agent: &'a Agent) -> Self {
        let permissions = agent.permissions.iter().map(Cow::Borrowed).collect();
        Self { agent, places: BTreeSet::new(), permissions }
    }

    fn of(agent: &'a Agent, resources: &[String]) -> Result<Self, Refusal> {
        let mut places = BTreeSet::new();
        let mut failed = Vec::new();
        for resource in resources {
            match resource.parse::<Location>() {
                Ok(place) if agent.permissions.iter().any(|p| place::is_registered_at(p, &place)) => {
                    places.insert(place);
                }
                _ => failed.push(resource.clone()),
            }
        }
        if failed.is_empty() {
            let permissions = agent.permissions.iter().filter_map(|p| place::held(p, &places)).collect();
            return Ok(Self { agent, places, permissions });
        }
        let what = format!("neither an origin nor the URL of a resource that {} is registered for", agent.id);
        Err(Refusal::naming(Reason::TargetNotRegistered, &failed, &what))
    }

    fn named(&self, identifier: &str) -> Option<&Permission> {
        self.permissions.iter().find(|p| p.name.as_str() == identifier).map(Cow::as_ref)
    }

    fn everything_free(&self, guardrails: &Guardrails) -> Result<Vec<GrantedPermission>, Refusal> {
        let mut wanted = Vec::new();
        for permission in &self.permissions {
            let free =
                |action: &&Action| rule(permission, guardrails, action, &permission.patterns).0 == Tier::Free;
            let actions: Vec<Action> = permission.free.iter().filter(free).cloned().collect();
            if !actions.is_empty() {
                wanted.push(permission.granting(actions));
            }
        }
        if wanted.is_empty() {
            return Err(Refusal::new(
                Reason::NothingFree,
                "no action that was asked for is free; name the gated ones in `scope`",
            ));
        }
        Ok(wanted)
    }

    fn by_scope(&self, words: &[String]) -> Result<Vec<GrantedPermission>, Refusal> {
        let mut asked: Vec<(&Permission, BTreeSet<Action>)> = Vec::new();
        let mut failed = Vec::new();
        for word in words {
            let Some((permission, action)) = self.word(word) else {
                failed.push(word.clone());
                continue;
            };
            match asked.iter_mut().find(|(known, _)| known.name == permission.name) {
                Some((_, actions)) => {
                    actions.insert(action);
                }
                None => asked.push((permission, BTreeSet::from([action]))),
            }
        }
        if !failed.is_empty() {
            let what = format!("not registered for {}", self.place());
            return Err(Refusal::naming(Reason::ScopeNotRegistered, &failed, &what));
        }
        Ok(asked.into_iter().map(|(permission, actions)| permission.granting(actions)).collect())
    }

    /// A scope word, `<permission name>:<action>`.
    fn word(&self, word: &str) -> Option<(&Permission, Action)> {
        let (name, action) = word.split_once(':')?;
        let permission = self.named(name)?;
        let action = action.parse().ok()?;
        (permission.tier(&action) != Tier::Forbidden).then_some((permission, action))
    }

    fn place(&self) -> String {
        if self.places.is_empty() {
            return self.agent.id.to_string();
        }
        let places: Vec<&str> = self.places.iter().map(Location::as_str).collect();
        format!("{} at {}", self.agent.id, places.join(", "))
    }

    fn by_details(&self, details: &[DetailRequest]) -> Result<Vec<GrantedPermission>, Refusal> {
        let mut wanted = Vec::with_capacity(details.len());
        let mut failed = Vec::new();
        for detail in details {
            match self.detail(detail) {
                Ok(element) => wanted.push(element),
                Err(refusal) if refusal.reason == Reason::DetailsInvalid => return Err(refusal),
                Err(refusal) => failed.push(refusal.description),
            }
        }
        if failed.is_empty() {
            return Ok(wanted);
        }
        let what = format!("not registered for {}", self.place());
        Err(Refusal::naming(Reason::DetailsNotRegistered, &failed, &what))
    }

    fn detail(&self, asked: &DetailRequest) -> Result<GrantedPermission, Refusal> {
        let name = &asked.identifier;
        let beyond = |what: String| Refusal::new(Reason::DetailsNotRegistered, what);
        let Some(permission) = self.named(name).filter(|p| p.kind.as_str() == asked.kind) else {
            return Err(beyond(format!("{} {name}", asked.kind)));
        };
        let registered = permission.granting(permission.free.union(&permission.gated).cloned());
        let element = narrow(&registered, &permission.free, asked)?;
        if registered.covers(&element) {
            return Ok(element);
        }
        let actions =
            element.actions.difference(&registered.actions).map(|action| format!("{name}:{action}"));
        let places =
            element.locations.iter().filter(|l| !registered.locations.contains(l)).map(Location::to_string);
        let limits = element
            .patterns()
            .iter()
            .filter(|p| !patterns_cover(registered.patterns(), std::slice::from_ref(p)))
            .map(|pattern| format!("{name} {pattern}"));
        let environment =
            element.environment.iter().filter(|_| element.environment != registered.environment);
        let failed: Vec<String> = actions
            .chain(places)
            .chain(limits)
            .chain(environment.map(|environment| format!("{name} in {environment}")))
            .collect();
        Err(beyond(failed.join(", ")))
    }

    fn every_resource_used(&self, wanted: &[GrantedPermission]) -> Result<(), Refusal> {
        let used = |place: &&Location| wanted.iter().any(|element| place::is_granted_at(element, place));
        let idle: Vec<String> =
            self.places.iter().filter(|place| !used(place)).map(Location::to_string).collect();
        if idle.is_empty() {
            return Ok(());
        }
        Err(Refusal::naming(Reason::TargetNotRegistered, &idle, "no permission that was asked for is there"))
    }
}

/// `registered` with every member that `asked` names put in its place. A member left out is not narrowed;
/// `actions` left out are the `free` ones.
fn narrow(
    registered: &GrantedPermission,
    free: &BTreeSet<Action>,
    asked: &DetailRequest,
) -> Result<GrantedPermission, Refusal> {
    let invalid = |what: &str| Refusal::new(Reason::DetailsInvalid, format!("{}: {what}", asked.identifier));
    fn parsed<T: std::str::FromStr, C: FromIterator<T>>(texts: &[String]) -> Option<C> {
        let all: Option<C> = texts.iter().map(|text| text.parse().ok()).collect();
        all.filter(|_| !texts.is_empty())
    }
    let mut element = registered.clone();
    element.actions = match &asked.actions {
        Some(actions) => parsed(actions).ok_or_else(|| invalid("`actions` must list one action or more"))?,
        None if free.is_empty() => {
            return Err(invalid("no action is free; name the gated ones in `actions`"));
        }
        None => free.clone(),
    };
    if let Some(locations) = &asked.locations {
        element.locations =
            parsed(locations).ok_or_else(|| invalid("`locations` must list one URL or more"))?;
    }
    let wrong_kind = match registered.kind {
        ResourceKind::GitRepository => {
            asked.paths.as_ref().map(|_| "a git_repository has `refs`, not `paths`")
        }
        ResourceKind::HttpEndpoint => asked.refs.as_ref().map(|_| "an http_endpoint has `paths`, not `refs`"),
    };
    if let Some(what) = wrong_kind {
        return Err(invalid(what));
    }
    if let Some(refs) = &asked.refs {
        element.refs = parsed(refs).ok_or_else(|| invalid("`refs` must list one pattern or more"))?;
    }
    if let Some(paths) = &asked.paths {
        element.paths = parsed(paths).ok_or_else(|| invalid("`paths` must list one pattern or more"))?;
    }
    if let Some(environment) = &asked.environment {
        element.environment = Some(environment.clone());
    }
    Ok(element)
}

#[cfg(test)]
pub(crate) mod tests;
