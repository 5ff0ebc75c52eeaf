//! Identity rules that cannot be told apart: the same workload would be two agents, or one agent twice.
//!
//! Two rules clash when one covers the other, or when they judge the same claims and some values satisfy
//! both. Rules over different claims may still meet in one identity; that is refused when it happens.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::document::{Located, Mistakes, Place};
use crate::domain::agent::IdentityRule;
use crate::domain::id::IssuerName;
use crate::domain::pattern::ClaimPattern;
use crate::registry::index::prefix;

/// Rules by issuer, claim and what comes before its first star.
type ByPrefix<'a> = BTreeMap<(&'a IssuerName, &'a str), BTreeMap<&'a str, Vec<usize>>>;

/// Tells of every rule the first earlier rule that it clashes with.
pub(super) fn report(rules: &[Located<IdentityRule>], mistakes: &Mistakes) {
    report_keys(rules, mistakes);
    let by_prefix = file(rules);
    let mut first_of: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, rule) in rules.iter().enumerate() {
        for other in candidates(&rule.value, &by_prefix) {
            let (first, later) = (at.min(other), at.max(other));
            if first != later && clash(&rules[first].value, &rules[later].value).is_some() {
                let known = first_of.entry(later).or_insert(first);
                *known = first.min(*known);
            }
        }
    }
    for (later, first) in first_of {
        if let Some(how) = clash(&rules[first].value, &rules[later].value) {
            let remedy = "keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`";
            tell(&rules[later], &rules[first].place, how, remedy, mistakes);
        }
    }
}

fn report_keys(rules: &[Located<IdentityRule>], mistakes: &Mistakes) {
    let mut keys: BTreeMap<String, &Place> = BTreeMap::new();
    for rule in rules {
        if let IdentityRule::Key(key) = &rule.value {
            let first = *keys.entry(key.thumbprint().to_string()).or_insert(&rule.place);
            if *first != rule.place {
                tell(rule, first, "is the same key as", "make each agent a key of its own", mistakes);
            }
        }
    }
}

fn tell(rule: &Located<IdentityRule>, first: &Place, how: &str, remedy: &str, mistakes: &Mistakes) {
    let line = first.line.map(|line| format!(":{line}")).unwrap_or_default();
    let problem = format!("{how} {} in {}{line}", first.key, first.file.display());
    mistakes.add(&rule.place, problem, remedy);
}

/// Why an identity that `later` matches could be one that `first` matches.
fn clash(first: &IdentityRule, later: &IdentityRule) -> Option<&'static str> {
    match (first.covers(later), later.covers(first)) {
        (true, true) => Some("is the same rule as"),
        (true, false) => Some("matches only workloads that are matched by"),
        (false, true) => Some("matches every workload that is matched by"),
        (false, false) => overlap(first, later).then_some("can match the same workload as"),
    }
}

fn overlap(a: &IdentityRule, b: &IdentityRule) -> bool {
    let (IdentityRule::Claims { claims: a, .. }, IdentityRule::Claims { claims: b, .. }) = (a, b) else {
        return false;
    };
    a.len() == b.len() && a.iter().all(|(name, rule)| b.get(name).is_some_and(|other| rule.overlaps(other)))
}

fn file(rules: &[Located<IdentityRule>]) -> ByPrefix<'_> {
    let mut by_prefix = ByPrefix::new();
    for (at, rule) in rules.iter().enumerate() {
        if let IdentityRule::Claims { issuer, claims } = &rule.value {
            for (name, pattern) in claims {
                let claim = by_prefix.entry((issuer, name.as_str())).or_default();
                claim.entry(prefix(pattern)).or_default().push(at);
            }
        }
    }
    by_prefix
}

/// The rules that could clash with `rule`, judged by the claim of it that leaves the fewest. A rule that
/// lacks that claim may cover this one all the same; then this one is among the candidates of that.
fn candidates(rule: &IdentityRule, by_prefix: &ByPrefix<'_>) -> Vec<usize> {
    let IdentityRule::Claims { issuer, claims } = rule else { return Vec::new() };
    let near = claims.iter().filter_map(|(name, pattern)| {
        by_prefix.get(&(issuer, name.as_str())).map(|values| (pattern, values))
    });
    // Counted before they are gathered: every agent may have the same `ref`.
    let fewest =
        near.min_by_key(|(pattern, values)| neighbours(pattern, values).map(Vec::len).sum::<usize>());
    fewest.into_iter().flat_map(|(pattern, values)| neighbours(pattern, values)).flatten().copied().collect()
}

/// Rules whose value could be one of `pattern`'s: of two that share a value, one's beginning begins the
/// other's.
fn neighbours<'a>(
    pattern: &'a ClaimPattern,
    values: &'a BTreeMap<&str, Vec<usize>>,
) -> impl Iterator<Item = &'a Vec<usize>> {
    let text = prefix(pattern);
    let shorter = text.char_indices().filter_map(move |(at, _)| values.get(&text[..at]));
    let longer = values
        .range::<str, _>((Bound::Included(text), Bound::Unbounded))
        .take_while(move |(value, _)| value.starts_with(text) && (!pattern.is_exact() || **value == text))
        .map(|(_, rules)| rules);
    shorter.chain(longer)
}
