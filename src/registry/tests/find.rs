//! Finding agrees with asking every rule, and rules that clash never load.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::document::{Located, Place};
use crate::domain::agent::{IdentityRule, example};
use crate::domain::key::PublicKey;
use crate::domain::time::Timestamp;
use crate::registry::clash;

fn identity(issuer: &str, claims: &[(&str, &str)]) -> VerifiedIdentity {
    VerifiedIdentity {
        issuer: issuer.parse().unwrap(),
        subject: "s".into(),
        claims: claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        expires: Timestamp::from_millis(0),
    }
}

#[test]
fn an_identity_is_one_agent_or_none_and_never_by_another_issuer() {
    let glob = good(2).replace(
        r#"{ repository_id = "2", ref = "refs/heads/main" }"#,
        r#"{ sub = "repo:acme/tools:ref:refs/heads/*" }"#,
    );
    let dir = folder(&[("a.toml", GOOD), ("b.toml", &glob)]);
    let registry = rules().load(dir.path()).unwrap();
    let found = |issuer, claims: &[_]| match registry.find(&identity(issuer, claims)) {
        Found::None => "none".to_owned(),
        Found::One(agent) => agent.id.to_string(),
        Found::Several(ids) => format!("{ids:?}"),
    };
    let main = ("ref", "refs/heads/main");
    assert_eq!(found("github", &[("repository_id", "1"), main]), "a");
    assert_eq!(found("gitlab", &[("repository_id", "1"), main]), "none");
    assert_eq!(found("github", &[("repository_id", "1"), ("ref", "refs/heads/mainx")]), "none");
    assert_eq!(found("github", &[("repository_id", "1")]), "none");
    assert_eq!(found("github", &[("sub", "repo:acme/tools:ref:refs/heads/x")]), "b");
    assert_eq!(found("github", &[("sub", "repo:acme/tools:ref:refs/heads/x/y")]), "none");
    let both = [("repository_id", "1"), main, ("sub", "repo:acme/tools:ref:refs/heads/x")];
    assert_eq!(found("github", &both), "[a, b]");
    assert_eq!(found("key", &both), "none");
}

#[test]
fn a_registered_key_is_found_by_its_thumbprint_alone() {
    let x = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let key = PublicKey { kty: "OKP".into(), crv: "Ed25519".into(), x: x.into(), y: None };
    let text = GOOD.replace(
        "issuer = \"github\"\nclaims = { repository_id = \"1\", ref = \"refs/heads/main\" }",
        &format!("key = {{ kty = \"OKP\", crv = \"Ed25519\", x = \"{x}\" }}"),
    );
    let dir = folder(&[("a.toml", &text), ("b.toml", &good(2))]);
    let registry = rules().load(dir.path()).unwrap();
    let mut proof = identity("key", &[]);
    assert_eq!(registry.find(&proof), Found::None);
    proof.subject = key.thumbprint().to_string();
    assert!(matches!(registry.find(&proof), Found::One(agent) if agent.id == id("a")));
    proof.issuer = "github".parse().unwrap();
    assert_eq!(registry.find(&proof), Found::None);
}

const VALUES: &[&str] = &["a", "b", "a/b", "a/c", "a:b/c", "b/c", "é/a", "a/b/c"];
const PATTERNS: &[&str] =
    &["a", "b", "a/b", "a/*", "a/**", "*/b", "**b", "a:*/c", "*", "é/*", "a/*/c", "a/b**", "*/c"];

fn claim_rules() -> impl Strategy<Value = IdentityRule> {
    let claims = btree_map(select(&["x", "y", "z"][..]), select(PATTERNS), 1..4);
    (select(&["github", "gitlab"][..]), claims).prop_map(|(issuer, claims)| IdentityRule::Claims {
        issuer: issuer.parse().unwrap(),
        claims: claims.into_iter().map(|(name, text)| (name.to_owned(), text.parse().unwrap())).collect(),
    })
}

fn agents() -> impl Strategy<Value = Vec<Arc<Agent>>> {
    vec(vec(claim_rules(), 1..4), 0..12).prop_map(|all| {
        let agent = |(n, identities)| {
            Arc::new(Agent { identities, ..example::agent(&format!("agent-{n:02}"), Vec::new()) })
        };
        all.into_iter().enumerate().map(agent).collect()
    })
}

fn identities() -> impl Strategy<Value = VerifiedIdentity> {
    (select(&["github", "gitlab", "key"][..]), btree_map(select(&["x", "y", "z"][..]), select(VALUES), 0..4))
        .prop_map(|(issuer, claims)| identity(issuer, &claims.into_iter().collect::<Vec<_>>()))
}

/// Whether the rules that load could be told apart, by asking every pair.
fn clashes(rules: &[Located<IdentityRule>]) -> bool {
    rules.iter().enumerate().any(|(at, a)| {
        rules[..at].iter().any(|b| {
            let names = |rule: &IdentityRule| match rule {
                IdentityRule::Claims { issuer, claims } => {
                    (issuer.clone(), claims.keys().cloned().collect::<Vec<_>>())
                }
                IdentityRule::Key(_) => unreachable!(),
            };
            let overlap = |a: &IdentityRule, b: &IdentityRule| match (a, b) {
                (IdentityRule::Claims { claims: a, .. }, IdentityRule::Claims { claims: b, .. }) => {
                    a.iter().all(|(name, rule)| rule.overlaps(&b[name]))
                }
                _ => unreachable!(),
            };
            let (a, b) = (&a.value, &b.value);
            a.covers(b) || b.covers(a) || (names(a) == names(b) && overlap(a, b))
        })
    })
}

fn located(agents: &[Arc<Agent>]) -> Vec<Located<IdentityRule>> {
    let rules = agents.iter().flat_map(|agent| agent.identities.iter().map(move |rule| (agent, rule)));
    rules
        .enumerate()
        .map(|(line, (agent, rule))| Located {
            value: rule.clone(),
            place: Place {
                file: Path::new(agent.id.as_str()).into(),
                line: Some(line),
                key: "identity".into(),
            },
        })
        .collect()
}

fn report(rules: &[Located<IdentityRule>], mistakes: &Mistakes) {
    clash::report(&rules.iter().map(|rule| (&rule.value, &rule.place)).collect::<Vec<_>>(), mistakes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn find_is_asking_every_rule(agents in agents(), identity in identities()) {
        let naive: Vec<AgentId> = agents
            .iter()
            .filter(|agent| agent.identities.iter().any(|rule| rule.matches(&identity)))
            .map(|agent| agent.id.clone())
            .collect();
        let registry = Registry::new(agents, "".into());
        let found = match registry.find(&identity) {
            Found::None => Vec::new(),
            Found::One(agent) => vec![agent.id.clone()],
            Found::Several(ids) => {
                prop_assert!(ids.len() > 1);
                ids
            }
        };
        prop_assert_eq!(found, naive);
    }

    #[test]
    fn clashes_are_told_exactly_where_some_pair_clashes(agents in agents()) {
        let rules = located(&agents);
        let mistakes = Mistakes::default();
        report(&rules, &mistakes);
        prop_assert_eq!(!mistakes.is_empty(), clashes(&rules));
    }

    #[test]
    fn rules_over_the_same_claims_that_load_never_find_two(agents in agents(), identity in identities()) {
        let single = |agent: &Arc<Agent>| {
            let mut agent = Agent::clone(agent);
            agent.identities.retain(|rule| {
                matches!(rule, IdentityRule::Claims { claims, .. } if claims.keys().eq(["x"]))
            });
            Arc::new(agent)
        };
        let agents: Vec<Arc<Agent>> = agents.iter().map(single).collect();
        let mistakes = Mistakes::default();
        report(&located(&agents), &mistakes);
        prop_assume!(mistakes.is_empty());
        let registry = Registry::new(agents, "".into());
        prop_assert!(!matches!(registry.find(&identity), Found::Several(_)));
    }
}

/// The agents of one monorepo: all rules but the last part alike. A cost that grew with their number would take minutes.
#[test]
fn ten_thousand_rules_that_are_nearly_alike_are_compared_and_found_at_once() {
    for claim in ["*-agent-N", "agent-*-N", "agents/N/**"] {
        let value = |n: usize| claim.replace('N', &format!("{n:05}"));
        let agent = |n: usize| {
            let claims = [("x", "acme/mono".to_owned()), ("y", value(n))];
            let claims = claims.map(|(name, text)| (name.to_owned(), text.parse().unwrap())).into();
            let rule = IdentityRule::Claims { issuer: "github".parse().unwrap(), claims };
            Arc::new(Agent { identities: vec![rule], ..example::agent(&format!("agent-{n:05}"), Vec::new()) })
        };
        let agents: Vec<Arc<Agent>> = (0..10_000).map(agent).collect();
        let begun = std::time::Instant::now();
        let mistakes = Mistakes::default();
        report(&located(&agents), &mistakes);
        assert!(mistakes.is_empty());
        let registry = Registry::new(agents, "".into());
        for n in 0..10_000 {
            let value = value(n).replace("**", "deep/er").replace('*', "some");
            let found = registry.find(&identity("github", &[("x", "acme/mono"), ("y", &value)]));
            assert!(
                matches!(found, Found::One(agent) if agent.id == id(&format!("agent-{n:05}"))),
                "{value}"
            );
        }
        assert!(begun.elapsed().as_secs() < 30, "{claim}: {:?}", begun.elapsed());
    }
}
