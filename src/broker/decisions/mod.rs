//! Decisions that were made lately. An agent asks for the same at each start, and what it is granted is a pure
//! function of its file, the guardrails and its request; so the same question has its answer at hand.
//!
//! Each agent has a memory of its own: what one asks takes no place of another's.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::domain::agent::Agent;
use crate::domain::decision::{Decision, grant, refuse_stopped};
use crate::domain::grant::Grant;
use crate::domain::guardrails::Guardrails;
use crate::domain::id::AgentId;
use crate::domain::request::{DetailRequest, TokenRequest};
use crate::domain::revocation::Target;

/// What the remembered grants of one agent may take of memory, bytes.
const AGENT_BYTES: usize = 64 * 1024;
const AGENT_ITEMS: usize = 16;

/// So many agents at once ask for what is remembered without waiting for one another.
const SHARDS: usize = 16;

/// Agents whose files are gone are forgotten once a shard has twice as many agents as were left the last time,
/// and at least so many.
const FEW_AGENTS: usize = 64;

/// Decides, and remembers what it granted. Refusals are rare and are made anew.
pub(super) struct Decisions {
    guardrails: Guardrails,
    granted: [Mutex<Shard>; SHARDS],
}

struct Shard {
    agents: HashMap<AgentId, Remembered>,
    look_through_at: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self { agents: HashMap::new(), look_through_at: FEW_AGENTS }
    }
}

/// What was granted to one agent.
struct Remembered {
    /// An agent's file is the one that it was read from: with a changed one all is forgotten.
    agent: Weak<Agent>,
    /// The oldest first.
    grants: VecDeque<Answered>,
    bytes: usize,
}

struct Answered {
    request: TokenRequest,
    grant: Grant,
    bytes: usize,
}

impl Decisions {
    pub(super) fn new(guardrails: Guardrails) -> Self {
        Self { guardrails, granted: Default::default() }
    }

    pub(super) fn guardrails(&self) -> &Guardrails {
        &self.guardrails
    }

    /// As [`decide`](crate::domain::decision::decide).
    pub(super) fn decide(
        &self,
        agent: &Arc<Agent>,
        request: &TokenRequest,
        stopped: Option<&Target>,
    ) -> Decision {
        if let Err(refusal) = refuse_stopped(agent, stopped) {
            return Decision::Refused(refusal);
        }
        if let Some(granted) = self.recall(agent, request) {
            return Decision::Granted(granted);
        }
        let decision = grant(agent, &self.guardrails, request);
        if let Decision::Granted(granted) = &decision {
            self.remember(agent, request, granted);
        }
        decision
    }

    fn shard(&self, agent: &AgentId) -> std::sync::MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        agent.hash(&mut hasher);
        let at = usize::from(hasher.finish().to_le_bytes()[0]) % SHARDS;
        self.granted[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, agent: &Arc<Agent>, request: &TokenRequest) -> Option<Grant> {
        let shard = self.shard(&agent.id);
        let remembered = shard.agents.get(&agent.id).filter(|known| known.is_of(agent))?;
        remembered
            .grants
            .iter()
            .find(|answered| answered.request == *request)
            .map(|found| found.grant.clone())
    }

    fn remember(&self, agent: &Arc<Agent>, request: &TokenRequest, grant: &Grant) {
        let bytes = weight(request, grant);
        // Before the lock, as it may be long.
        let answered = Answered { request: request.clone(), grant: grant.clone(), bytes };
        if bytes <= AGENT_BYTES {
            self.shard(&agent.id).of(agent).add(answered);
        }
    }
}

impl Shard {
    fn of(&mut self, agent: &Arc<Agent>) -> &mut Remembered {
        if self.agents.len() >= self.look_through_at && !self.agents.contains_key(&agent.id) {
            self.agents.retain(|_, remembered| remembered.agent.strong_count() > 0);
            self.look_through_at = FEW_AGENTS.max(self.agents.len() * 2);
        }
        let nothing = || Remembered { agent: Arc::downgrade(agent), grants: VecDeque::new(), bytes: 0 };
        let remembered = self.agents.entry(agent.id.clone()).or_insert_with(nothing);
        if !remembered.is_of(agent) {
            *remembered = nothing();
        }
        remembered
    }
}

impl Remembered {
    fn is_of(&self, agent: &Arc<Agent>) -> bool {
        self.agent.as_ptr() == Arc::as_ptr(agent)
    }

    /// The oldest make room.
    fn add(&mut self, answered: Answered) {
        // Another call may have asked the same meanwhile.
        if self.grants.iter().any(|known| known.request == answered.request) {
            return;
        }
        self.bytes += answered.bytes;
        self.grants.push_back(answered);
        while self.bytes > AGENT_BYTES || self.grants.len() > AGENT_ITEMS {
            let Some(oldest) = self.grants.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

/// About what both take. A caller decides how long its words are, so each of them counts.
fn weight(request: &TokenRequest, grant: &Grant) -> usize {
    let TokenRequest { scope, details, resources, ttl: _ } = request;
    let of_details = details.iter().flat_map(|detail| {
        let DetailRequest { kind, identifier, locations, actions, refs, paths, environment } = detail;
        let lists = [locations, actions, refs, paths].into_iter().flatten().flatten();
        [kind, identifier].into_iter().chain(environment).chain(lists)
    });
    let asked: usize = scope.iter().chain(resources).chain(of_details).map(|word| 32 + word.len()).sum();
    let granted: usize = grant
        .permissions
        .iter()
        // Twice each pattern: as it is and in the JSON.
        .map(|p| 512 + p.patterns().iter().map(|pattern| 64 + 2 * pattern.as_str().len()).sum::<usize>())
        .sum();
    512 + asked + granted
}

#[cfg(test)]
mod tests;
