//! Law 1 and the rules of narrowing, over agents, guardrails and requests of one small vocabulary.
//! What a grant allows is judged by its meaning: whether one use of it is allowed.

mod bounds;
mod examples;
mod rulings;
pub(crate) mod vocabulary;

use proptest::prelude::*;
use proptest::sample::subsequence;

use self::vocabulary::*;
use super::*;
use crate::domain::guardrails::{MAX_TOKEN_LIFETIME, PRODUCTION};
use crate::domain::id::PermissionName;
use crate::domain::pattern::Pattern;

/// Whether patterns allow a use of what they limit.
fn reaches(patterns: &[Pattern], used: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(used))
}

/// Every use that the grant allows: permission, action, ref or path.
fn uses(grant: &Grant) -> impl Iterator<Item = (&GrantedPermission, &Action, &'static str)> {
    grant.permissions.iter().flat_map(|element| {
        let used = move || USED.into_iter().filter(|used| reaches(element.patterns(), used));
        element.actions.iter().flat_map(move |action| used().map(move |used| (element, action, used)))
    })
}

fn allows(grant: &Grant, name: &str, action: &str, used: &str) -> bool {
    uses(grant)
        .any(|(element, a, u)| element.identifier.as_str() == name && a.as_str() == action && u == used)
}

/// Whether a use at `location` is at one of `resources`: an origin, a resource's own URL, or a path of an endpoint.
fn is_at(resources: &[String], kind: ResourceKind, location: &Location, used: &str) -> bool {
    let origin = location.origin().as_str();
    let at = |resource: &String| {
        let path = resource.strip_prefix(origin).filter(|_| kind == ResourceKind::HttpEndpoint);
        resource == origin || resource == location.as_str() || path == Some(used)
    };
    resources.is_empty() || resources.iter().any(at)
}

/// Whether `request` asked for a use: by nothing, by a scope word, or by a detail.
fn asked(
    request: &TokenRequest,
    agent: &Agent,
    element: &GrantedPermission,
    action: &Action,
    used: &str,
) -> bool {
    let at_resource = is_at(&request.resources, element.kind, &element.locations[0], used);
    let word = format!("{}:{action}", element.identifier);
    let detail = |detail: &DetailRequest| {
        let limits = detail.refs.as_ref().or(detail.paths.as_ref());
        let limits: Vec<Pattern> = limits.into_iter().flatten().map(|glob| glob.parse().unwrap()).collect();
        let free = &agent.permission(&element.identifier).unwrap().free;
        detail.identifier == element.identifier.as_str()
            && match &detail.actions {
                Some(actions) => actions.iter().any(|a| a == action.as_str()),
                None => free.contains(action),
            }
            && reaches(&limits, used)
    };
    let narrowed = !request.scope.is_empty() || !request.details.is_empty();
    at_resource && (!narrowed || request.scope.contains(&word) || request.details.iter().any(detail))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Law 1: grant ⊆ request, grant ⊆ registered, grant ⊆ guardrails.
    #[test]
    fn no_grant_exceeds_anything(agent in agent(), rails in guardrails(), request in request()) {
        let Ok(grant) = decide(&agent, &rails, &request, None).granted() else { return Ok(()) };
        prop_assert!(!grant.permissions.is_empty());
        for (element, action, used) in uses(&grant) {
            let registered = agent.permission(&element.identifier).unwrap();
            prop_assert!(registered.free.contains(action) && !registered.gated.contains(action), "{action}");
            prop_assert_eq!(registered.kind, element.kind);
            prop_assert_eq!(std::slice::from_ref(&registered.location), &element.locations[..]);
            prop_assert_eq!(&registered.environment, &element.environment);
            prop_assert!(reaches(&registered.patterns, used), "{used} is not registered");

            prop_assert!(!rails.never.contains(action) && !rails.always_gated.contains(action), "{action}");
            prop_assert!(rails.production == Tier::Free || element.environment.as_deref() != Some(PRODUCTION));
            let protected = rails.protected_refs.iter().any(|pattern| pattern.matches(used));
            prop_assert!(action.as_str() != "push" || !protected, "may push {used}");

            prop_assert!(asked(&request, &agent, element, action, used), "{action} {used} was not asked for");
        }
        let asked = request.ttl.map_or(Duration::MAX, |ttl| Duration::from_secs(ttl.into()));
        let registered = agent.max_ttl.unwrap_or(Duration::MAX);
        for limit in [asked, registered, rails.ttl, rails.max_ttl, MAX_TOKEN_LIFETIME] {
            prop_assert!(grant.ttl <= limit);
        }
    }

    /// All that was asked is granted, or nothing is.
    #[test]
    fn nothing_is_trimmed(agent in agent(), rails in guardrails(), request in request()) {
        let Ok(grant) = decide(&agent, &rails, &request, None).granted() else { return Ok(()) };
        for word in &request.scope {
            let (name, action) = word.split_once(':').unwrap();
            let registered = agent.permission(&name.parse().unwrap()).unwrap();
            let is_at = |used: &&str| is_at(&request.resources, registered.kind, &registered.location, used);
            for used in USED.into_iter().filter(|used| reaches(&registered.patterns, used)).filter(is_at) {
                prop_assert!(allows(&grant, name, action, used), "{word} {used}");
            }
        }
        for detail in &request.details {
            let limits: Vec<&String> = detail.refs.iter().chain(&detail.paths).flatten().collect();
            for action in detail.actions.iter().flatten() {
                for used in USED {
                    let narrowed = limits.iter().any(|glob| glob.parse::<Pattern>().unwrap().matches(used));
                    prop_assert!(!narrowed || allows(&grant, &detail.identifier, action, used), "{detail:?} {used}");
                }
            }
        }
        for resource in &request.resources {
            let alone = std::slice::from_ref(resource);
            let serves = |p: &GrantedPermission| {
                let at = |used: &&str| is_at(alone, p.kind, &p.locations[0], used) && reaches(p.patterns(), used);
                // An origin or a resource's own URL serves whatever path or ref.
                is_at(alone, p.kind, &p.locations[0], "no path at all") || USED.iter().any(at)
            };
            prop_assert!(grant.permissions.iter().any(serves), "{resource} is served");
        }
    }

    #[test]
    fn nothing_asked_is_everything_free(agent in agent(), rails in guardrails()) {
        let mut expected: Vec<(PermissionName, Action)> = Vec::new();
        for p in &agent.permissions {
            let free = |a: &&Action| {
                let reached = a.as_str() == "push"
                    && rails.protected_refs.iter().any(|r| p.patterns.is_empty() || p.patterns.iter().any(|q| q.overlaps(r)));
                !p.gated.contains(a) && !rails.never.contains(a) && !rails.always_gated.contains(a) && !reached
                    && (rails.production == Tier::Free || p.environment.as_deref() != Some(PRODUCTION))
            };
            expected.extend(p.free.iter().filter(free).map(|a| (p.name.clone(), a.clone())));
        }
        match decide(&agent, &rails, &TokenRequest::default(), None).granted() {
            Ok(grant) => {
                let granted: Vec<_> = grant.permissions.iter()
                    .flat_map(|e| e.actions.iter().map(|a| (e.identifier.clone(), a.clone()))).collect();
                prop_assert_eq!(granted, expected);
                for e in &grant.permissions {
                    prop_assert_eq!(e.patterns(), &agent.permission(&e.identifier).unwrap().patterns[..]);
                }
            }
            Err(refusal) => {
                prop_assert_eq!(refusal.reason, Reason::NothingFree);
                prop_assert!(expected.is_empty());
            }
        }
    }

    /// The same words as scope and as details: the same grant, or a refusal by the same rule.
    #[test]
    fn scope_and_details_say_the_same(agent in agent(), rails in guardrails(), n in 0usize..3, pick in any::<u8>()) {
        let p = &agent.permissions[n % agent.permissions.len()];
        let registered: Vec<&Action> = p.free.union(&p.gated).collect();
        let picked: Vec<&&Action> = registered.iter().enumerate().filter(|(i, _)| pick >> i & 1 == 1).map(|(_, a)| a).collect();
        prop_assume!(!picked.is_empty());
        let scope = picked.iter().map(|action| format!("{}:{action}", p.name)).collect();
        let detail = DetailRequest {
            actions: Some(picked.iter().map(|action| action.to_string()).collect()),
            ..bare_detail(p.name.as_str(), p.kind)
        };
        let by_scope = decide(&agent, &rails, &TokenRequest { scope, ..TokenRequest::default() }, None).granted();
        let by_details = decide(&agent, &rails, &TokenRequest { details: vec![detail], ..TokenRequest::default() }, None).granted();
        prop_assert_eq!(&by_scope, &by_details);
        if let Ok(grant) = by_scope {
            let scope: Vec<String> = grant.permissions.scope().split(' ').map(str::to_owned).collect();
            let again = decide(&agent, &rails, &TokenRequest { scope, ..TokenRequest::default() }, None).granted();
            prop_assert_eq!(again, Ok(grant), "a grant's scope asks for the grant");
        }
    }

    /// A refusal names each word that failed, and no word that did not.
    #[test]
    fn a_refusal_names_each_failed_word(agent in agent(), rails in guardrails(), scope in prop::collection::vec(word(), 1..5)) {
        let tier_of = |word: &String| word.split_once(':').and_then(|(name, action)| {
            let permission = agent.permissions.iter().find(|p| p.name.as_str() == name)?;
            let action: Action = action.parse().ok()?;
            let registered = Some(permission.tier(&action)).filter(|tier| *tier != Tier::Forbidden)?;
            Some(registered.max(rails.tier(&action, permission.environment.as_deref(), &permission.patterns)))
        });
        let request = TokenRequest { scope: scope.clone(), ..TokenRequest::default() };
        let failed = match decide(&agent, &rails, &request, None).granted().map_err(|refusal| (refusal.reason, refusal.description)) {
            Ok(_) => {
                prop_assert!(scope.iter().all(|word| tier_of(word) == Some(Tier::Free)));
                return Ok(());
            }
            Err((Reason::ScopeNotRegistered, named)) => (None, named),
            Err((Reason::Forbidden, named)) => (Some(Tier::Forbidden), named),
            Err((Reason::ApprovalRequired, named)) => (Some(Tier::Gated), named),
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let (list, _) = failed.1.split_once(": ").unwrap();
        let list: Vec<&str> = list.split(", ").collect();
        for word in &scope {
            prop_assert_eq!(list.contains(&word.as_str()), tier_of(word) == failed.0, "{} in {:?}", word, failed.1);
        }
    }

    #[test]
    fn a_requested_ttl_only_shortens(agent in agent(), rails in guardrails(), request in request()) {
        let unasked = decide(&agent, &rails, &TokenRequest { ttl: None, ..request.clone() }, None).granted();
        match (decide(&agent, &rails, &request, None).granted(), unasked) {
            (Ok(asked), Ok(unasked)) => {
                let wish = request.ttl.map_or(Duration::MAX, |ttl| Duration::from_secs(ttl.into()));
                prop_assert_eq!(asked.ttl, wish.min(unasked.ttl));
                prop_assert_eq!(asked.permissions, unasked.permissions);
            }
            (asked, unasked) => prop_assert_eq!(asked, unasked),
        }
    }

    /// A stop is said before anything else, whatever is asked.
    #[test]
    fn who_is_stopped_gets_nothing(agent in agent(), rails in guardrails(), request in request()) {
        let refusal = decide(&agent, &rails, &request, Some(&Target::Everything)).granted().unwrap_err();
        prop_assert_eq!(refusal.reason, Reason::Revoked);
        prop_assert!(refusal.description.starts_with("everything is stopped"));
    }

    /// Law 1 over the guardrails alone: what can reach a protected ref may not push, and only that.
    #[test]
    fn protected_refs_are_not_reached(globs in subsequence(&REFS[..], 0..=5), protected in subsequence(&PROTECTED[..], 0..=3)) {
        let rails = Guardrails { protected_refs: all(&protected), ..open_guardrails() };
        let patterns: Vec<Pattern> = all(&globs);
        let push: Action = "push".parse().unwrap();
        let reached = USED.into_iter().any(|used| reaches(&patterns, used) && rails.protected_refs.iter().any(|r| r.matches(used)));
        prop_assert_eq!(rails.reaches_protected(&push, &patterns), reached);
        prop_assert_eq!(rails.tier(&push, None, &patterns) == Tier::Forbidden, reached);
        prop_assert!(!rails.reaches_protected(&"read".parse().unwrap(), &patterns), "reading is not kept off");
    }
}
