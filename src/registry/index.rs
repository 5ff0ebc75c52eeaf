//! Which agent a verified identity is, without asking every agent.
//!
//! Each claim rule is filed under the one of its claims that the fewest rules have alike. An identity is looked up by
//! the values of its claims, so the work follows their lengths, however many agents there are.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::agent::{Agent, IdentityRule};
use crate::domain::id::{AgentId, IssuerName};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::pattern::{ClaimPattern, ClaimPatterns};

/// The agents that an identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    None,
    One(&'a Arc<Agent>),
    /// A registry fault: rules of these agents, by id, all match.
    Several(Vec<AgentId>),
}

/// Positions of an agent and of one of its rules.
type RuleAt = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Index {
    claims: HashMap<IssuerName, HashMap<String, ByValue>>,
    keys: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct ByValue {
    /// Rules that match one value only.
    exact: HashMap<String, Vec<RuleAt>>,
    globs: ClaimPatterns<RuleAt>,
}

impl Index {
    /// `agents` must stay in this order.
    pub(super) fn new(agents: &[Arc<Agent>]) -> Self {
        let mut index = Self::default();
        let uses = count_uses(agents);
        for (agent_at, agent) in agents.iter().enumerate() {
            for (rule_at, rule) in agent.identities.iter().enumerate() {
                match rule {
                    IdentityRule::Key(key) => {
                        index.keys.insert(key.thumbprint().to_string(), agent_at);
                    }
                    IdentityRule::Claims { issuer, claims } => {
                        let uses_of = |(name, pattern): &(&String, &ClaimPattern)| {
                            let uses = uses.get(&(issuer, name.as_str(), *pattern)).copied();
                            (uses, !pattern.is_exact())
                        };
                        if let Some((name, pattern)) = claims.iter().min_by_key(uses_of) {
                            let by_name = index.claims.entry(issuer.clone()).or_default();
                            by_name.entry(name.clone()).or_default().file(pattern, (agent_at, rule_at));
                        }
                    }
                }
            }
        }
        index
    }

    pub(super) fn find<'a>(&self, identity: &VerifiedIdentity, agents: &'a [Arc<Agent>]) -> Found<'a> {
        let mut hits: Vec<usize> = Vec::new();
        let mut hit = |(agent, rule): RuleAt| {
            if !hits.contains(&agent) && agents[agent].identities[rule].matches(identity) {
                hits.push(agent);
            }
        };
        if let Some(by_name) = self.claims.get(&identity.issuer) {
            // Few claims tell agents apart; an identity has many more.
            for (name, by_value) in by_name {
                if let Some(value) = identity.claims.get(name) {
                    by_value.candidates(value, &mut hit);
                }
            }
        }
        if identity.issuer.as_str() == IssuerName::KEY {
            hits.extend(self.keys.get(&identity.subject));
        }
        match hits[..] {
            [] => Found::None,
            [one] => Found::One(&agents[one]),
            _ => {
                hits.sort_unstable();
                Found::Several(hits.into_iter().map(|at| agents[at].id.clone()).collect())
            }
        }
    }
}

impl ByValue {
    fn file(&mut self, pattern: &ClaimPattern, rule: RuleAt) {
        if pattern.is_exact() {
            self.exact.entry(pattern.as_str().to_owned()).or_default().push(rule);
        } else {
            self.globs.insert(pattern, rule);
        }
    }

    fn candidates(&self, value: &str, hit: &mut impl FnMut(RuleAt)) {
        self.exact.get(value).into_iter().flatten().copied().for_each(&mut *hit);
        self.globs.matching(value, hit);
    }
}

/// How many rules have each claim alike: the fewer, the more it tells.
fn count_uses(agents: &[Arc<Agent>]) -> HashMap<(&IssuerName, &str, &ClaimPattern), usize> {
    let mut uses = HashMap::new();
    for rule in agents.iter().flat_map(|agent| &agent.identities) {
        if let IdentityRule::Claims { issuer, claims } = rule {
            for (name, pattern) in claims {
                *uses.entry((issuer, name.as_str(), pattern)).or_default() += 1;
            }
        }
    }
    uses
}
