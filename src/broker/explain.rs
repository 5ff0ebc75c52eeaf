//! The dry run: what would happen to a request, and which rule decides. Nothing is issued, journaled,
//! counted or asked of an issuer; the finding and the decision are those of `issue`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::broker::policy::Policy;
use crate::broker::{Broker, Denied};
use crate::domain::agent::{Agent, IdentityRule};
use crate::domain::decision::{Ruling, rulings};
use crate::domain::grant::Grant;
use crate::domain::id::{AgentId, IssuerName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::platform::{KUBERNETES, KUBERNETES_CLAIMS};
use crate::domain::reason::Reason;
use crate::domain::request::TokenRequest;
use crate::domain::revocation::{Levels, Stop, Target};
use crate::registry::{Found, Registry};

/// Near misses that are told.
const NEAREST: usize = 5;

/// Who is supposed to ask.
pub enum Supposed {
    Agent(AgentId),
    /// A proof of this issuer (by its configured name; `key` for a registered key, whose `sub` is its
    /// thumbprint) with these claims, of which rules see the strings.
    Identity {
        issuer: IssuerName,
        claims: BTreeMap<String, Value>,
    },
}

/// What would happen.
pub struct Explained {
    pub outcome: Result<Grant, Denied>,
    /// None where no agent, or more than one, is known by the identity.
    pub agent: Option<Arc<Agent>>,
    /// Which rule decides on each action.
    pub rulings: Vec<Ruling>,
    /// The level that is stopped and so decides.
    pub stopped_by: Option<Target>,
    /// Every recorded stop in effect that covers the agent by one of its levels, newest first.
    pub stops: Vec<Stop>,
    /// For an identity that is no agent's: those that it came closest to, the closest first.
    pub nearest: Vec<Miss>,
    /// A registry fault: the agents that all match.
    pub several: Vec<AgentId>,
    /// `sha256:…` of the agent files that decide.
    pub registry: Arc<str>,
}

/// One identity rule that does not match.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    pub agent: AgentId,
    pub mismatches: Vec<Mismatch>,
    /// How many claims of the rule do match.
    pub matched: usize,
}

/// One part of the rule that does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// `None` for the issuer itself.
    pub claim: Option<String>,
    /// The pattern.
    pub expected: String,
    /// `None` where the identity has no such claim. A value that is no string matches no rule.
    pub given: Option<Value>,
}

impl Broker {
    /// What would happen if `supposed` asked for `request` now; `None` where no such agent is registered.
    ///
    /// # Errors
    /// When neither kill switch nor store can be asked, or the stops cannot be read.
    pub async fn explain(
        &self,
        supposed: Supposed,
        request: &TokenRequest,
    ) -> Result<Option<Explained>, Denied> {
        let policy = Arc::clone(&self.rules.policy());
        let registry = &policy.registry;
        let (agent, issuers) = match supposed {
            Supposed::Agent(id) => {
                let Some(agent) = registry.agent(&id) else { return Ok(None) };
                (Arc::clone(agent), agent.issuers().into_iter().collect())
            }
            Supposed::Identity { issuer, claims } => match self.supposed(&policy, &issuer, claims) {
                Ok(agent) => (agent, vec![issuer]),
                Err(unknown) => return Ok(Some(*unknown)),
            },
        };
        let (stopped_by, stops) = self.stops_of(&agent, issuers).await?;
        let decision = policy.decisions.decide(&agent, request, stopped_by.as_ref()).granted();
        Ok(Some(Explained {
            outcome: decision.map_err(Denied::from),
            rulings: rulings(&agent, policy.decisions.guardrails(), request),
            agent: Some(agent),
            stopped_by,
            stops,
            ..Explained::refused(Reason::NoAgent, registry)
        }))
    }

    /// The agent that the identity would be, or all there is to say.
    fn supposed(
        &self,
        policy: &Policy,
        issuer: &IssuerName,
        claims: BTreeMap<String, Value>,
    ) -> Result<Arc<Agent>, Box<Explained>> {
        let registry = &policy.registry;
        if issuer.as_str() != IssuerName::KEY && !policy.issuers.contains(issuer) {
            return Err(Box::new(Explained::refused(Reason::IssuerUnknown, registry)));
        }
        let claims = with_nested(claims);
        let strings =
            claims.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let identity = VerifiedIdentity::supposed(issuer.clone(), strings.collect(), self.now());
        let unknown = Explained::refused(Reason::NoAgent, registry);
        Err(Box::new(match registry.find(&identity) {
            Found::One(agent) => return Ok(Arc::clone(agent)),
            Found::None => Explained { nearest: nearest(registry, issuer, &claims), ..unknown },
            Found::Several(agents) => Explained { several: agents, ..unknown },
        }))
    }

    /// The level that stops the agent, and every stop that covers it. One that can prove itself to
    /// several issuers is stopped where each of them is.
    async fn stops_of(
        &self,
        agent: &Agent,
        issuers: Vec<IssuerName>,
    ) -> Result<(Option<Target>, Vec<Stop>), Denied> {
        let mut targets = Vec::new();
        let mut stopped_by: Option<Option<Target>> = None;
        for issuer in issuers {
            let levels = Levels::asked_by(agent.holder(issuer));
            targets.extend(levels.targets());
            let stopped = self.kill_switch.verdict(&levels).await?.stopped;
            stopped_by = Some(match stopped_by {
                None => stopped,
                Some(before) => before.and(stopped),
            });
        }
        let mut stops = self.stops(true).await?;
        stops.retain(|stop| targets.contains(&stop.target));
        Ok((stopped_by.flatten(), stops))
    }
}

impl Explained {
    fn refused(reason: Reason, registry: &Registry) -> Self {
        Self {
            outcome: Err(reason.into()),
            agent: None,
            rulings: Vec::new(),
            stopped_by: None,
            stops: Vec::new(),
            nearest: Vec::new(),
            several: Vec::new(),
            registry: Arc::clone(registry.revision()),
        }
    }
}

/// The agents that the identity came closest to: the fewest mismatches first, then the most matches.
/// The claims with what Kubernetes nests under the names that rules have for it. Rules of other issuers
/// have no such names, so for those it says nothing.
fn with_nested(mut claims: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let Some(top) = claims.get(KUBERNETES).cloned() else { return claims };
    for (name, path) in KUBERNETES_CLAIMS {
        if let Some(value) = path.iter().try_fold(&top, |value, member| value.get(member)) {
            claims.insert((*name).to_owned(), value.clone());
        }
    }
    claims
}

fn nearest(registry: &Registry, issuer: &IssuerName, claims: &BTreeMap<String, Value>) -> Vec<Miss> {
    let misses = registry.agents().filter_map(|agent| {
        let of_agent = agent.identities.iter().filter_map(|rule| miss(agent, rule, issuer, claims));
        of_agent.min_by_key(closeness)
    });
    let mut misses: Vec<Miss> = misses.collect();
    misses.sort_by_key(closeness);
    misses.truncate(NEAREST);
    misses
}

/// Less is closer. Agents come by id, and sorting keeps that order among the equally close.
fn closeness(miss: &Miss) -> (usize, std::cmp::Reverse<usize>) {
    (miss.mismatches.len(), std::cmp::Reverse(miss.matched))
}

/// Where the rule and the identity differ. A key is not compared with claims, nor claims with a key.
fn miss(
    agent: &Agent,
    rule: &IdentityRule,
    issuer: &IssuerName,
    claims: &BTreeMap<String, Value>,
) -> Option<Miss> {
    let by_key = issuer.as_str() == IssuerName::KEY;
    let mut mismatches = Vec::new();
    let matched = match rule {
        IdentityRule::Claims { issuer: expected, claims: rules } if !by_key => {
            if expected != issuer {
                let given = Some(Value::from(issuer.as_str()));
                mismatches.push(Mismatch { claim: None, expected: expected.to_string(), given });
            }
            let differs = rules.iter().filter(|(name, rule)| {
                !claims.get(*name).and_then(Value::as_str).is_some_and(|value| rule.matches(value))
            });
            let before = mismatches.len();
            mismatches.extend(differs.map(|(name, rule)| Mismatch {
                claim: Some(name.clone()),
                expected: rule.to_string(),
                given: claims.get(name).cloned(),
            }));
            rules.len() - (mismatches.len() - before)
        }
        IdentityRule::Key(key) if by_key => {
            let given = claims.get("sub").cloned();
            let expected = key.thumbprint().to_string();
            mismatches.push(Mismatch { claim: Some("sub".to_owned()), expected, given });
            0
        }
        _ => return None,
    };
    Some(Miss { agent: agent.id.clone(), mismatches, matched })
}
