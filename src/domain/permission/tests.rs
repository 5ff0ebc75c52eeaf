use proptest::prelude::*;

use super::*;

const WORDS: [&str; 4] = ["read", "push", "merge", "tag"];
const REFS: [&str; 6] = ["refs/heads/*", "refs/heads/a", "refs/heads/a*", "refs/**", "refs/tags/*", "**"];
const PLACES: [&str; 2] = ["https://github.com/acme/a", "https://github.com/acme/b"];

fn some(of: &'static [&'static str], at_least: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(of, at_least..=of.len())
}

fn granted() -> impl Strategy<Value = GrantedPermission> {
    let environment = prop::option::weighted(0.2, Just("staging".to_owned()));
    (
        some(&PLACES, 1),
        some(&WORDS, 1),
        prop::collection::vec(prop::sample::select(&REFS[..]), 0..3),
        environment,
    )
        .prop_map(|(places, words, refs, environment)| GrantedPermission {
            kind: ResourceKind::GitRepository,
            identifier: "a".parse().unwrap(),
            locations: places.iter().map(|place| place.parse().unwrap()).collect(),
            actions: words.iter().map(|word| word.parse().unwrap()).collect(),
            refs: refs.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            paths: Vec::new(),
            environment,
        })
}

/// Whether one use is allowed, from what the permission means.
fn allows(permission: &GrantedPermission, place: &str, action: &str, name: &str) -> bool {
    permission.locations.iter().any(|location| location.as_str() == place)
        && permission.actions.iter().any(|a| a.as_str() == action)
        && (permission.refs.is_empty() || permission.refs.iter().any(|pattern| pattern.matches(name)))
}

fn uses() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let names = ["refs/heads/a", "refs/heads/ab", "refs/heads/b", "refs/heads/a/b", "refs/tags/a", "HEAD"];
    PLACES
        .into_iter()
        .flat_map(move |place| WORDS.into_iter().flat_map(move |word| names.map(|name| (place, word, name))))
}

proptest! {
    #[test]
    fn covering_allows_no_less(wide in granted(), narrow in granted()) {
        if wide.covers(&narrow) {
            for (place, word, name) in uses() {
                prop_assert!(
                    !allows(&narrow, place, word, name) || allows(&wide, place, word, name),
                    "{wide:?} covers {narrow:?}, which alone allows {word} {name} at {place}"
                );
            }
        }
    }

    /// Two that cover each other allow the same, whatever they look like.
    #[test]
    fn covering_is_a_partial_order(a in granted(), b in granted(), c in granted()) {
        prop_assert!(a.covers(&a));
        prop_assert!(!a.covers(&b) || !b.covers(&c) || a.covers(&c));
        if a.covers(&b) && b.covers(&a) {
            for (place, word, name) in uses() {
                prop_assert_eq!(allows(&a, place, word, name), allows(&b, place, word, name));
            }
        }
    }

    /// One more of anything is not covered by one fewer.
    #[test]
    fn less_never_covers_more(a in granted(), word in prop::sample::select(&WORDS[..])) {
        let mut less = a.clone();
        let action: Action = word.parse().unwrap();
        prop_assume!(less.actions.remove(&action));
        prop_assert!(a.covers(&less) && !less.covers(&a));
        let mut limited = a.clone();
        if a.refs.is_empty() {
            limited.refs = vec!["**".parse().unwrap()];
            prop_assert!(a.covers(&limited) && !limited.covers(&a), "no limit is wider than any");
        }
    }

    #[test]
    fn serializes_as_it_reads(a in granted()) {
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<GrantedPermission>(&json).unwrap(), a);
    }
}

#[test]
fn what_differs_in_kind_name_or_environment_is_not_covered() {
    let a = GrantedPermission {
        kind: ResourceKind::GitRepository,
        identifier: "a".parse().unwrap(),
        locations: vec![PLACES[0].parse().unwrap()],
        actions: BTreeSet::from(["read".parse().unwrap()]),
        refs: Vec::new(),
        paths: Vec::new(),
        environment: None,
    };
    let kind = GrantedPermission { kind: ResourceKind::HttpEndpoint, ..a.clone() };
    let name = GrantedPermission { identifier: "b".parse().unwrap(), ..a.clone() };
    let environment = GrantedPermission { environment: Some("staging".into()), ..a.clone() };
    for other in [kind, name, environment] {
        assert!(!a.covers(&other) && !other.covers(&a), "{other:?}");
    }
}

#[test]
fn a_location_has_one_spelling() {
    for (text, expected, origin) in [
        ("https://GitHub.com:443/acme/a/", "https://github.com/acme/a", "https://github.com"),
        ("https://ledger.acme.internal/", "https://ledger.acme.internal", "https://ledger.acme.internal"),
        ("http://localhost:8080", "http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:1/a", "http://127.0.0.1:1"),
        ("http://[::1]:1/a", "http://[::1]:1/a", "http://[::1]:1"),
        ("https://github.com/acme/../evil", "https://github.com/evil", "https://github.com"),
    ] {
        let location: Location = text.parse().unwrap();
        assert_eq!((location.as_str(), location.origin().as_str()), (expected, origin));
        assert_eq!(location.to_string().parse(), Ok(location));
    }
}

#[test]
fn refused_locations() {
    use InvalidUrl::*;
    for (text, expected) in [
        ("github.com/acme", Syntax),
        ("", Syntax),
        ("mailto:a@b", Syntax),
        ("http://github.com", Insecure),
        ("http://169.254.169.254/latest", Insecure),
        ("http://localhost.evil.example", Insecure),
        ("ftp://github.com", Insecure),
        ("https://user@github.com", Excess),
        ("https://:pass@github.com", Excess),
        ("https://github.com/?a", Excess),
        ("https://github.com/#a", Excess),
    ] {
        assert_eq!(text.parse::<Location>(), Err(expected), "{text}");
    }
    assert_eq!("https://github.com/acme".parse::<Origin>(), Err(Excess));
}

#[test]
fn actions() {
    use ResourceKind::*;
    for (text, kind) in [
        ("read", GitRepository),
        ("secrets:read", GitRepository),
        ("open-pr", GitRepository),
        ("GET", HttpEndpoint),
    ] {
        let action: Action = text.parse().unwrap();
        assert!(
            action.fits(kind)
                && !action.fits(if kind == GitRepository { HttpEndpoint } else { GitRepository })
        );
    }
    for text in ["", "Get", "GET:x", "read:", ":read", "re ad", "*", "read*", "-x", "1x", "é"] {
        assert_eq!(text.parse::<Action>(), Err(InvalidAction), "{text}");
    }
    let listed: BTreeSet<Action> =
        ["push", "merge", "secrets:read", "read"].map(|word| word.parse().unwrap()).into();
    let listed: Vec<&str> = listed.iter().map(Action::as_str).collect();
    assert_eq!(listed, ["read", "merge", "push", "secrets:read"]);
}

#[test]
fn what_is_not_listed_is_forbidden_and_gated_wins() {
    let permission = Permission {
        name: "a".parse().unwrap(),
        kind: ResourceKind::GitRepository,
        location: PLACES[0].parse().unwrap(),
        environment: None,
        patterns: Vec::new(),
        free: BTreeSet::from(["read".parse().unwrap(), "push".parse().unwrap()]),
        gated: BTreeSet::from(["push".parse().unwrap()]),
    };
    let tier = |word: &str| permission.tier(&word.parse().unwrap());
    assert_eq!((tier("read"), tier("push"), tier("merge")), (Tier::Free, Tier::Gated, Tier::Forbidden));
    assert!(Tier::Free < Tier::Gated && Tier::Gated < Tier::Forbidden);
}

#[test]
fn an_origin_tells_its_host_and_port() {
    for (origin, authority, host) in [
        ("https://ledger.acme.internal", "ledger.acme.internal", "ledger.acme.internal"),
        ("https://ledger.acme.internal:8443", "ledger.acme.internal:8443", "ledger.acme.internal"),
        ("https://a.test:443", "a.test", "a.test"),
        ("http://127.0.0.1:8700", "127.0.0.1:8700", "127.0.0.1"),
        ("http://[::1]:8700", "[::1]:8700", "[::1]"),
        ("https://[2001:db8::1]", "[2001:db8::1]", "[2001:db8::1]"),
    ] {
        let parsed: Origin = origin.parse().unwrap();
        assert_eq!((parsed.authority(), parsed.host()), (authority, host), "{origin}");
        assert_eq!(parsed.is_https(), origin.starts_with("https:"));
    }
}

#[test]
fn a_resource_is_found_by_every_spelling_of_its_url() {
    for registered in ["https://github.com/acme/payments", "https://github.com/acme/payments.git"] {
        for asked in [
            "https://github.com/acme/payments",
            "https://GitHub.com/acme/payments.git",
            "https://github.com:443/acme/payments/",
            "https://github.com/acme/payments.git/",
        ] {
            assert!(spellings(asked).iter().any(|spelling| spelling == registered), "{asked} {registered}");
        }
        assert!(!spellings("https://github.com/acme/Payments").iter().any(|spelling| spelling == registered));
    }
    assert_eq!(spellings("ledger"), ["ledger"]);
    assert_eq!(
        spellings("https://LEDGER.acme.internal/"),
        ["https://LEDGER.acme.internal/", "https://ledger.acme.internal"]
    );
}
