//! Decisions that were made lately. An agent asks for the same at each start, and what it is granted is a pure
//! function of its file, the guardrails and its request; so the same question has its answer at hand.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::domain::agent::Agent;
use crate::domain::decision::{Refusal, grant, refuse_stopped};
use crate::domain::grant::Grant;
use crate::domain::guardrails::Guardrails;
use crate::domain::request::{DetailRequest, TokenRequest};
use crate::domain::revocation::Target;

/// What remembered grants may take of memory, bytes.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
const CACHE_ITEMS: usize = 4096;

/// Decides, and remembers what it granted. Refusals are rare and are made anew.
pub(super) struct Decisions {
    guardrails: Guardrails,
    granted: Cache<Asked, Grant, ByBytes>,
}

/// Who asked for what. An agent's file is the one that it was read from: a changed one is another agent here.
struct Asked {
    agent: Arc<Agent>,
    request: TokenRequest,
}

/// The same, of a caller that may be told its answer at once.
#[derive(Clone, Copy)]
struct Asking<'a> {
    agent: &'a Arc<Agent>,
    request: &'a TokenRequest,
}

impl Asked {
    fn asking(&self) -> Asking<'_> {
        Asking { agent: &self.agent, request: &self.request }
    }
}

impl Hash for Asking<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(self.agent).hash(state);
        self.request.hash(state);
    }
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asking().hash(state);
    }
}

impl PartialEq for Asking<'_> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.agent, other.agent) && self.request == other.request
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.asking() == other.asking()
    }
}

impl Eq for Asked {}

impl Equivalent<Asked> for Asking<'_> {
    fn equivalent(&self, key: &Asked) -> bool {
        *self == key.asking()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Asked, Grant> for ByBytes {
    /// About what both take. A caller decides how long its words are, so each of them counts.
    fn weight(&self, asked: &Asked, grant: &Grant) -> u64 {
        let TokenRequest { scope, details, resources, ttl: _ } = &asked.request;
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
        (512 + asked + granted) as u64
    }
}

impl Decisions {
    pub(super) fn new(guardrails: Guardrails) -> Self {
        Self { guardrails, granted: Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, ByBytes) }
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
    ) -> Result<Grant, Refusal> {
        refuse_stopped(agent, stopped)?;
        if let Some(granted) = self.granted.get(&Asking { agent, request }) {
            return Ok(granted);
        }
        let granted = grant(agent, &self.guardrails, request)?;
        let asked = Asked { agent: Arc::clone(agent), request: request.clone() };
        self.granted.insert(asked, granted.clone());
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::domain::decision::decide;
    use crate::domain::permission::{Permission, ResourceKind, Tier};
    use crate::domain::reason::Reason;

    fn agent(free: &[&str]) -> Arc<Agent> {
        let permission = Permission {
            name: "payments".parse().unwrap(),
            kind: ResourceKind::GitRepository,
            location: "https://github.com/acme/payments".parse().unwrap(),
            environment: None,
            patterns: vec!["refs/heads/agent/*".parse().unwrap()],
            free: free.iter().map(|action| action.parse().unwrap()).collect(),
            gated: BTreeSet::new(),
        };
        Arc::new(Agent {
            id: "a".parse().unwrap(),
            purpose: String::new(),
            owner: "team-a".parse().unwrap(),
            max_ttl: None,
            tokens_per_minute: None,
            sender_constrained: false,
            may_delegate_to: BTreeSet::new(),
            identities: Vec::new(),
            permissions: vec![permission],
        })
    }

    fn decisions() -> Decisions {
        Decisions::new(Guardrails {
            ttl: Duration::from_secs(600),
            max_ttl: Duration::from_secs(900),
            protected_refs: Vec::new(),
            always_gated: BTreeSet::new(),
            never: BTreeSet::new(),
            production: Tier::Gated,
            max_delegation_depth: 3,
        })
    }

    fn scope(words: &[&str]) -> TokenRequest {
        TokenRequest { scope: words.iter().map(|&word| word.to_owned()).collect(), ..TokenRequest::default() }
    }

    #[test]
    fn an_answer_at_hand_is_the_one_that_would_be_made() {
        let decisions = decisions();
        let short = TokenRequest { ttl: Some(60), ..TokenRequest::default() };
        let requests =
            [TokenRequest::default(), short, scope(&["payments:read"]), scope(&["payments:merge"])];
        // The second has the id and the words of the first, and a file that allows less.
        for agent in [agent(&["read", "push"]), agent(&["read"])] {
            for request in requests.iter().chain(&requests) {
                let expected = decide(&agent, decisions.guardrails(), request, None);
                assert_eq!(decisions.decide(&agent, request, None), expected, "{request:?}");
            }
        }
        assert_eq!(decisions.granted.len(), 6, "of each agent what was granted, and no refusal");
        let everything = decisions.decide(&agent(&["read"]), &TokenRequest::default(), None).unwrap();
        assert_eq!(everything.ttl, decisions.guardrails().lifetime(None));
        assert!(everything.ttl > Duration::from_secs(60));
    }

    #[test]
    fn long_requests_take_no_more_memory_than_they_may() {
        let decisions = decisions();
        let agent = agent(&["read", "push"]);
        let request = |n: usize| {
            let refs = (0..250).map(|at| format!("refs/heads/agent/{n}-{at}-{}", "x".repeat(150))).collect();
            let detail = DetailRequest {
                kind: "git_repository".to_owned(),
                identifier: "payments".to_owned(),
                locations: None,
                actions: Some(vec!["push".to_owned()]),
                refs: Some(refs),
                paths: None,
                environment: None,
            };
            TokenRequest { details: vec![detail], ..TokenRequest::default() }
        };
        let grant = decisions.decide(&agent, &request(0), None).unwrap();
        let weight = ByBytes.weight(&Asked { agent: Arc::clone(&agent), request: request(0) }, &grant);
        assert!(weight > 150_000, "the request, the patterns and their JSON: {weight}");
        for n in 1..60 {
            decisions.decide(&agent, &request(n), None).unwrap();
        }
        assert!(decisions.granted.len() < 30, "{}", decisions.granted.len());
    }

    #[test]
    fn what_is_stopped_is_refused_whatever_was_granted_before() {
        let decisions = decisions();
        let (agent, request) = (agent(&["read"]), TokenRequest::default());
        decisions.decide(&agent, &request, None).unwrap();
        let refusal = decisions.decide(&agent, &request, Some(&Target::Everything)).unwrap_err();
        assert_eq!(refusal.reason, Reason::Revoked);
    }
}
