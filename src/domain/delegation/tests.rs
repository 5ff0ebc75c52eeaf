//! Law 1 for tokens that are handed down, judged by what they open.

use proptest::prelude::*;

use super::*;
use crate::domain::agent::example;
use crate::domain::decision::decide;
use crate::domain::decision::tests::vocabulary::{USED, agent, guardrails, request};

/// Every use that a grant allows: place, environment, action, ref or path.
fn uses(permissions: &[GrantedPermission]) -> Vec<(String, Option<String>, String, &'static str)> {
    let mut uses = Vec::new();
    for element in permissions {
        let reached = |used: &&str| {
            element.patterns().is_empty() || element.patterns().iter().any(|pattern| pattern.matches(used))
        };
        for used in USED.into_iter().filter(reached) {
            for location in &element.locations {
                for action in &element.actions {
                    let (place, environment) = (location.to_string(), element.environment.clone());
                    uses.push((place, environment, action.to_string(), used));
                }
            }
        }
    }
    uses
}

fn all_in(inner: &[GrantedPermission], outer: &[GrantedPermission]) -> bool {
    let outer = uses(outer);
    uses(inner).iter().all(|used| outer.contains(used))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Over three hands: each token opens no more than the one before it, than its own agent could have had,
    /// and lives no longer.
    #[test]
    fn no_hand_holds_more_than_the_one_before(
        agents in prop::collection::vec((agent(), request()), 3),
        guardrails in guardrails(),
        left in 1u64..3_600,
    ) {
        let mut from: Option<Inheritance> = None;
        for (agent, request) in &agents {
            let Ok(own) = decide(agent, &guardrails, request, None).granted() else { break };
            let grant = match &from {
                None => own.clone(),
                Some(from) => match inherit(own.clone(), request, from) {
                    Ok(grant) => grant,
                    Err(refusal) => {
                        prop_assert_eq!(refusal.reason, Reason::BeyondParent);
                        break;
                    }
                },
            };
            prop_assert!(!grant.permissions.is_empty());
            prop_assert!(all_in(&grant.permissions, &own.permissions), "{grant:?}");
            if let Some(from) = &from {
                prop_assert!(all_in(&grant.permissions, &from.permissions), "{grant:?} from {from:?}");
                prop_assert!(grant.ttl <= from.lifetime && grant.ttl <= own.ttl);
            }
            let permissions = still_granted(agent, &grant.permissions, &guardrails);
            from = Some(Inheritance { permissions, lifetime: std::time::Duration::from_secs(left).min(grant.ttl) });
        }
    }

    /// What was asked by name is given or refused by name.
    #[test]
    fn a_word_is_never_left_out(child in agent(), parent in agent(), request in request(), guardrails in guardrails()) {
        let free = crate::domain::request::TokenRequest::default();
        let (Ok(own), Ok(held)) = (decide(&child, &guardrails, &request, None).granted(), decide(&parent, &guardrails, &free, None).granted())
        else { return Ok(()) };
        let from = Inheritance { permissions: held.permissions, lifetime: own.ttl };
        if let Ok(grant) = inherit(own.clone(), &request, &from)
            && (!request.scope.is_empty() || !request.details.is_empty())
        {
            for element in &own.permissions {
                for action in &element.actions {
                    let kept = grant.permissions.iter().any(|g| {
                        g.identifier == element.identifier && g.actions.contains(action)
                    });
                    prop_assert!(kept, "{}:{action}", element.identifier);
                }
            }
        }
    }

    /// An agent whose file was narrowed hands down what is left, and one that is registered as before all of it.
    #[test]
    fn a_narrowed_file_narrows_at_once(was in agent(), is in agent(), guardrails in guardrails()) {
        let free = crate::domain::request::TokenRequest::default();
        let Ok(held) = decide(&was, &guardrails, &free, None).granted() else { return Ok(()) };
        prop_assert!(all_in(&held.permissions, &still_granted(&was, &held.permissions, &guardrails)));
        let left = still_granted(&is, &held.permissions, &guardrails);
        prop_assert!(all_in(&left, &held.permissions));
        for element in &left {
            let permission = is.permission(&element.identifier).unwrap();
            prop_assert!(permission.granting(permission.free.clone()).covers(element), "{element:?}");
        }
    }
}

#[test]
fn who_may_hand_down_to_whom() {
    let ids: Vec<AgentId> = ["a", "b", "c", "d"].iter().map(|id| id.parse().unwrap()).collect();
    let guardrails = |max_delegation_depth| Guardrails {
        max_delegation_depth,
        ..crate::domain::decision::tests::vocabulary::open_guardrails()
    };
    let parent = |to: &[usize]| Agent {
        may_delegate_to: to.iter().map(|n| ids[*n].clone()).collect(),
        ..example::agent("a", Vec::new())
    };
    let reason = |to: &[usize], chain: &[usize], child: usize, depth| {
        let chain: Vec<&AgentId> = chain.iter().map(|n| &ids[*n]).collect();
        may_delegate(&parent(to), &chain, &ids[child], &guardrails(depth)).err().map(|refusal| refusal.reason)
    };
    assert_eq!(reason(&[1], &[0], 1, 1), None);
    assert_eq!(reason(&[1], &[0], 2, 1), Some(Reason::DelegationNotRegistered));
    assert_eq!(reason(&[], &[0], 1, 1), Some(Reason::DelegationNotRegistered));
    assert_eq!(reason(&[1], &[0], 1, 0), Some(Reason::DelegationTooDeep));
    assert_eq!(reason(&[1], &[0, 2], 1, 1), Some(Reason::DelegationTooDeep));
    assert_eq!(reason(&[1], &[0, 2], 1, 2), None);
    assert_eq!(reason(&[1], &[0, 1], 1, 3), Some(Reason::DelegationTooDeep), "it is in the chain");
    assert_eq!(reason(&[0], &[0], 0, 3), Some(Reason::DelegationTooDeep), "itself");
}

/// A refusal says in which respect the parent's token differs, so that nobody compares two files by eye.
#[test]
fn a_refusal_names_the_place_the_environment_or_the_patterns() {
    use crate::domain::decision::tests::vocabulary::open_guardrails;
    use crate::domain::permission::Permission;
    let example = || {
        let place = "https://github.com/acme/payments";
        let payments =
            example::repository("payments", place, &["refs/heads/agent/*"], &["read", "push"], &[]);
        example::agent("a", vec![Permission { environment: Some("staging".into()), ..payments }])
    };
    let parent = example();
    let request = TokenRequest::default();
    let held = decide(&parent, &open_guardrails(), &request, None).granted().unwrap();
    let from = Inheritance { permissions: held.permissions, lifetime: held.ttl };
    let refusal = |change: fn(Permission) -> Permission| {
        let mut child = example();
        child.permissions = child.permissions.into_iter().map(change).collect();
        let own = decide(&child, &open_guardrails(), &request, None).granted().unwrap();
        inherit(own, &request, &from).unwrap_err().description
    };
    let elsewhere = refusal(|p| Permission { location: "https://git.example/x".parse().unwrap(), ..p });
    assert!(
        elsewhere.contains("is at https://git.example/x, and the parent's token has nothing there"),
        "{elsewhere}"
    );
    let environment = refusal(|p| Permission { environment: Some("qa".into()), ..p });
    assert!(
        environment.contains("in the environment qa, and the parent's token has that place in"),
        "{environment}"
    );
    let none = refusal(|p| Permission { environment: None, ..p });
    assert!(none.contains("registered in no environment"), "{none}");
    let refs = refusal(|p| Permission { patterns: vec!["refs/heads/other/*".parse().unwrap()], ..p });
    assert!(refs.contains("are none that the parent's token has there (refs/heads/agent/*)"), "{refs}");
    for told in [&elsewhere, &environment, &none, &refs] {
        assert!(told.contains(":read") && told.contains("more than the parent's token holds; "), "{told}");
    }
}
