//! A vocabulary so small that requests hit registrations, guardrails and each other often.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::domain::agent::{Agent, example};
use crate::domain::decision::*;
use crate::domain::guardrails::PRODUCTION;

pub(crate) const WORDS: [&str; 4] = ["read", "push", "merge", "deploy"];
pub(crate) const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
pub(crate) const REFS: [&str; 5] =
    ["refs/heads/agent/*", "refs/heads/**", "refs/heads/main", "refs/tags/*", "**"];
pub(crate) const PATHS: [&str; 4] = ["/v1/entries/**", "/v1/*", "/v1/entries/1", "/**"];
pub(crate) const PROTECTED: [&str; 3] = ["refs/heads/main", "refs/heads/release/**", "refs/tags/v*"];
/// What a use may name: some of it protected, some of it out of every pattern.
pub(crate) const USED: [&str; 9] = [
    "refs/heads/main",
    "refs/heads/agent/fix",
    "refs/heads/release/1/2",
    "refs/tags/v1",
    "refs/tags/x",
    "/v1/entries/1",
    "/v1/entries/1/2",
    "/v1/x",
    "/",
];

/// Name, kind and place of every permission that an agent may have.
pub(crate) const RESOURCES: [(&str, ResourceKind, &str); 3] = [
    ("payments", ResourceKind::GitRepository, "https://github.com/acme/payments"),
    ("infra", ResourceKind::GitRepository, "https://git.acme.internal/infra"),
    ("ledger", ResourceKind::HttpEndpoint, "https://ledger.acme.internal"),
];

pub(crate) fn vocabulary(kind: ResourceKind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        ResourceKind::GitRepository => (&WORDS, &REFS),
        ResourceKind::HttpEndpoint => (&METHODS, &PATHS),
    }
}

pub(crate) fn all<T: std::str::FromStr<Err: std::fmt::Debug>, C: FromIterator<T>>(texts: &[&str]) -> C {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn permission(n: usize) -> impl Strategy<Value = Permission> {
    let (name, kind, place) = RESOURCES[n];
    let (words, globs) = vocabulary(kind);
    let environment = select(vec![None, Some("staging"), Some(PRODUCTION)]);
    let some = |of: &'static [&'static str]| subsequence(of, 0..=of.len());
    (some(words), some(words), some(globs), environment).prop_map(move |(free, gated, globs, environment)| {
        Permission {
            name: name.parse().unwrap(),
            kind,
            location: place.parse().unwrap(),
            environment: environment.map(str::to_owned),
            patterns: all(&globs),
            free: all(&free),
            gated: all(&gated),
        }
    })
}

pub(crate) fn agent() -> impl Strategy<Value = Agent> {
    let permissions = (permission(0), permission(1), permission(2));
    let max_ttl = prop::option::of((1u64..5_000).prop_map(Duration::from_secs));
    (permissions, subsequence(vec![0usize, 1, 2], 1..=3), max_ttl).prop_map(|((a, b, c), kept, max_ttl)| {
        let every = [a, b, c];
        let permissions = kept.into_iter().map(|n| every[n].clone()).collect();
        Agent { max_ttl, ..example::agent("worker", permissions) }
    })
}

pub(crate) fn guardrails() -> impl Strategy<Value = Guardrails> {
    (
        (1u64..5_000, 1u64..5_000),
        subsequence(&PROTECTED[..], 0..=2),
        prop::collection::vec(select(vec!["merge", "deploy", "DELETE"]), 0..2),
        prop::collection::vec(select(vec!["deploy", "DELETE", "push"]), 0..2),
        select(vec![Tier::Free, Tier::Free, Tier::Gated, Tier::Forbidden]),
    )
        .prop_map(|((ttl, max_ttl), protected, always_gated, never, production)| Guardrails {
            ttl: Duration::from_secs(ttl),
            max_ttl: Duration::from_secs(max_ttl),
            protected_refs: all(&protected),
            always_gated: all(&always_gated),
            never: all(&never),
            production,
            max_delegation_depth: 3,
        })
}

pub(crate) fn word() -> impl Strategy<Value = String> {
    (0usize..3, 0usize..8, 0usize..24).prop_map(|(n, action, odd)| {
        let (name, kind, _) = RESOURCES[n];
        let words = vocabulary(kind).0;
        match odd {
            0 => "payments".to_owned(),
            1 => format!("{name}:"),
            2 => "nothing:read".to_owned(),
            _ => format!("{name}:{}", words[action % words.len()]),
        }
    })
}

pub(crate) fn detail() -> impl Strategy<Value = DetailRequest> {
    (0usize..3, prop::option::of(0usize..4), prop::option::weighted(0.3, 0usize..5), any::<bool>()).prop_map(
        |(n, action, glob, with_place)| {
            let (name, kind, place) = RESOURCES[n];
            let (words, globs) = vocabulary(kind);
            let limit = glob.map(|glob| vec![globs[glob % globs.len()].to_owned()]);
            let git = kind == ResourceKind::GitRepository;
            DetailRequest {
                actions: action.map(|action| vec![words[action % words.len()].to_owned()]),
                locations: with_place.then(|| vec![place.to_owned()]),
                refs: limit.clone().filter(|_| git),
                paths: limit.filter(|_| !git),
                ..bare_detail(name, kind)
            }
        },
    )
}

pub(crate) fn bare_detail(name: &str, kind: ResourceKind) -> DetailRequest {
    DetailRequest {
        kind: kind.as_str().to_owned(),
        identifier: name.to_owned(),
        locations: None,
        actions: None,
        refs: None,
        paths: None,
        environment: None,
    }
}

pub(crate) fn request() -> impl Strategy<Value = TokenRequest> {
    let places = select(vec![
        "https://github.com",
        "https://github.com/acme/payments",
        "https://ledger.acme.internal",
        "https://ledger.acme.internal/v1/entries/1",
        "https://ledger.acme.internal/v1/x",
        "https://other.example",
    ]);
    (
        prop::collection::vec(word(), 0..3),
        prop::collection::vec(detail(), 0..3),
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(places.prop_map(str::to_owned), 1..3)],
        prop::option::of(1u32..9_000),
    )
        .prop_map(|(scope, details, resources, ttl)| TokenRequest { scope, details, resources, ttl })
}

pub(crate) fn open_guardrails() -> Guardrails {
    Guardrails {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(900),
        protected_refs: Vec::new(),
        always_gated: BTreeSet::new(),
        never: BTreeSet::new(),
        production: Tier::Free,
        max_delegation_depth: 3,
    }
}
