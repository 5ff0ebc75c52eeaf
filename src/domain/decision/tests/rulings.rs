//! What is explained is what is decided.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn rulings_and_decision_agree(agent in agent(), rails in guardrails(), request in request()) {
        let rulings = rulings(&agent, &rails, &request);
        let some = |tier: Tier| rulings.iter().any(|ruling| ruling.tier == tier);
        let named = !request.scope.is_empty() || !request.details.is_empty();
        match decide(&agent, &rails, &request, None).granted() {
            Ok(grant) => {
                for element in &grant.permissions {
                    for action in &element.actions {
                        let word = format!("{}:{action}", element.identifier);
                        let said = rulings.iter().find(|ruling| ruling.word == word && ruling.tier == Tier::Free);
                        prop_assert!(said.is_some(), "{word} was granted and is not explained as free");
                    }
                }
                prop_assert!(!named || !some(Tier::Gated) && !some(Tier::Forbidden), "{rulings:?}");
            }
            Err(refusal) => match refusal.reason {
                Reason::ApprovalRequired => prop_assert!(some(Tier::Gated) && !some(Tier::Forbidden)),
                Reason::Forbidden | Reason::ScopeNotRegistered => prop_assert!(some(Tier::Forbidden)),
                Reason::NothingFree => prop_assert!(!some(Tier::Free)),
                _ => {}
            },
        }
    }
}

/// The file first, then what is stricter than the file, by the name of its key.
#[test]
fn each_ruling_names_the_key_that_decides() {
    let rails = Guardrails {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(900),
        protected_refs: vec!["refs/heads/main".parse().unwrap()],
        always_gated: BTreeSet::from(["deploy".parse().unwrap()]),
        never: BTreeSet::from(["secrets:read".parse().unwrap()]),
        production: Tier::Gated,
        max_delegation_depth: 3,
    };
    let permission = |environment: Option<&str>, refs: &str| Permission {
        name: "pay".parse().unwrap(),
        kind: ResourceKind::GitRepository,
        location: "https://github.com/acme/pay".parse().unwrap(),
        environment: environment.map(str::to_owned),
        patterns: vec![refs.parse().unwrap()],
        free: ["read", "push", "deploy", "secrets:read"].map(|action| action.parse().unwrap()).into(),
        gated: ["merge"].map(|action| action.parse().unwrap()).into(),
    };
    let because = |permission: &Permission, action: &str| {
        let action = action.parse().unwrap();
        let (tier, rule) = rule(permission, &rails, &action, &permission.patterns);
        (tier, rule.as_str())
    };
    let agents = permission(None, "refs/heads/agent/*");
    assert_eq!(because(&agents, "read"), (Tier::Free, "file.free"));
    assert_eq!(because(&agents, "merge"), (Tier::Gated, "file.gated"));
    assert_eq!(because(&agents, "tag"), (Tier::Forbidden, "file.unlisted"));
    assert_eq!(because(&agents, "deploy"), (Tier::Gated, "guardrails.always_gated"));
    assert_eq!(because(&agents, "secrets:read"), (Tier::Forbidden, "guardrails.never"));
    assert_eq!(because(&agents, "push"), (Tier::Free, "file.free"));
    assert_eq!(because(&permission(None, "refs/heads/*"), "push").1, "guardrails.protected_refs");
    let production = permission(Some(PRODUCTION), "refs/heads/agent/*");
    assert_eq!(because(&production, "read"), (Tier::Gated, "guardrails.production"));
    assert_eq!(because(&production, "merge"), (Tier::Gated, "file.gated"), "the file says so already");
}
