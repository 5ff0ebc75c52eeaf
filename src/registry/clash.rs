//! Identity rules that cannot be told apart: the same workload would be two agents, or one agent twice.
//!
//! Two rules clash when one covers the other, or when they judge the same claims and some values satisfy
//! both. Rules over different claims may still meet in one identity; that is refused when it happens.

use std::collections::{BTreeMap, HashMap};

use crate::document::{Mistakes, Place};
use crate::domain::agent::IdentityRule;
use crate::domain::id::IssuerName;
use crate::domain::pattern::OverlappingPatterns;

/// A rule and where it stands.
pub(super) type RuleAt<'a> = (&'a IdentityRule, &'a Place);

/// Rules by issuer and claim.
type ByClaim<'a> = HashMap<(&'a IssuerName, &'a str), OverlappingPatterns<usize>>;

/// More clashes than anybody mends before the next look. Each costs as much as there are rules that it may be with.
const ENOUGH: usize = 500;

/// Tells of every rule the first earlier rule that it clashes with.
pub(super) fn report(rules: &[RuleAt<'_>], mistakes: &Mistakes) {
    report_keys(rules, mistakes);
    let (mut first_of, distinct) = same(rules);
    let by_claim = file(rules, &distinct);
    for at in distinct {
        if first_of.len() > ENOUGH {
            break;
        }
        for other in candidates(rules[at].0, &by_claim) {
            let (first, later) = (at.min(other), at.max(other));
            if first != later && clash(rules[first].0, rules[later].0).is_some() {
                let known = first_of.entry(later).or_insert(first);
                *known = first.min(*known);
            }
        }
    }
    for (later, first) in first_of {
        if let Some(how) = clash(rules[first].0, rules[later].0) {
            let remedy = "keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`";
            tell(rules[later], rules[first].1, how, remedy, mistakes);
        }
    }
}

fn report_keys(rules: &[RuleAt<'_>], mistakes: &Mistakes) {
    let mut keys: BTreeMap<String, &Place> = BTreeMap::new();
    for &(rule, place) in rules {
        if let IdentityRule::Key(key) = rule {
            let first = *keys.entry(key.thumbprint().to_string()).or_insert(place);
            if first != place {
                tell(
                    (rule, place),
                    first,
                    "is the same key as",
                    "make each agent a key of its own",
                    mistakes,
                );
            }
        }
    }
}

fn tell((_, place): RuleAt<'_>, first: &Place, how: &str, remedy: &str, mistakes: &Mistakes) {
    let line = first.line.map(|line| format!(":{line}")).unwrap_or_default();
    let problem = format!("{how} {} in {}{line}", first.key, first.file.display());
    mistakes.add(place, problem, remedy);
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

/// Of each rule that an earlier one equals that one, and the rules that are left.
fn same(rules: &[RuleAt<'_>]) -> (BTreeMap<usize, usize>, Vec<usize>) {
    let mut known = HashMap::new();
    let (mut first_of, mut distinct) = (BTreeMap::new(), Vec::new());
    for (at, (rule, _)) in rules.iter().enumerate() {
        let IdentityRule::Claims { issuer, claims } = rule else { continue };
        match *known.entry((issuer, claims)).or_insert(at) {
            first if first == at => distinct.push(at),
            first => drop(first_of.insert(at, first)),
        }
    }
    (first_of, distinct)
}

fn file<'a>(rules: &[RuleAt<'a>], distinct: &[usize]) -> ByClaim<'a> {
    let mut by_claim = ByClaim::new();
    for &at in distinct {
        if let IdentityRule::Claims { issuer, claims } = rules[at].0 {
            for (name, pattern) in claims {
                by_claim.entry((issuer, name.as_str())).or_default().insert(pattern, at);
            }
        }
    }
    by_claim
}

/// The rules that could clash with `rule`, judged by the claim of it that leaves the fewest. A rule that
/// lacks that claim may cover this one all the same; then this one is among the candidates of that.
fn candidates(rule: &IdentityRule, by_claim: &ByClaim<'_>) -> Vec<usize> {
    let IdentityRule::Claims { issuer, claims } = rule else { return Vec::new() };
    let filed = || {
        claims.iter().filter_map(|(name, pattern)| {
            by_claim.get(&(issuer, name.as_str())).map(|patterns| (pattern, patterns))
        })
    };
    // Little effort first: every agent may have the same `ref`, and one look at another claim tells them apart.
    let mut effort = 64;
    while effort < usize::MAX / 8 {
        if let Some(found) = filed().find_map(|(pattern, patterns)| patterns.overlapping(pattern, effort)) {
            return found;
        }
        effort *= 8;
    }
    Vec::new()
}
