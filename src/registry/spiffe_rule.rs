//! `spiffe` of an `[[identity]]`: the SPIFFE ID of the workload that an agent is, or a pattern of such IDs.

use std::collections::BTreeMap;

use crate::document::{Field, Located, Mistakes, nearest, wrong_value};
use crate::domain::agent::IdentityRule;
use crate::domain::id::IssuerName;
use crate::domain::pattern::ClaimPattern;
use crate::domain::spiffe::SpiffeId;
use crate::registry::Rules;

/// A SPIFFE ID has one spelling, so a rule for it is a rule for the `sub` of its trust domain.
pub(super) fn read(field: Field<'_>, rules: &Rules, mistakes: &Mistakes) -> Option<IdentityRule> {
    let remedy = field.remedy();
    let text = field.text()?;
    let wrong = |problem: String, remedy: &str| {
        mistakes.add(&text.place, wrong_value(&text.value, &problem), remedy);
        None
    };
    if text.value.contains("**") {
        return wrong("`**` is too broad for an ID".to_owned(), "write `*` for what lies within one segment");
    }
    // A star stands for characters that an ID may have in a segment.
    let id = match text.value.replace('*', "x").parse::<SpiffeId>() {
        Ok(id) => id,
        Err(error) => return wrong(format!("is no SPIFFE ID: it {error}"), &remedy),
    };
    let rest = text.value.strip_prefix("spiffe://").unwrap_or_default();
    let mut parts = rest.split('/');
    let (domain, first) = (parts.next().unwrap_or_default(), parts.next());
    if domain.contains('*') {
        return wrong("has a star in the trust domain".to_owned(), "write the trust domain's name");
    }
    match first {
        None => return wrong("is the ID of a trust domain, not of a workload".to_owned(), &remedy),
        Some(first) if first.contains('*') => {
            let problem = "is too broad: the first segment of the path has a star".to_owned();
            return wrong(problem, "write that segment whole, as in spiffe://acme.internal/agents/*");
        }
        Some(_) => {}
    }
    let issuer = trust_domain(id.trust_domain(), &text, rules, mistakes)?;
    let pattern: ClaimPattern = match text.value.parse() {
        Ok(pattern) => pattern,
        Err(error) => return wrong(error.to_string(), &remedy),
    };
    Some(IdentityRule::Claims { issuer, claims: BTreeMap::from([("sub".to_owned(), pattern)]) })
}

fn trust_domain(
    name: &str,
    text: &Located<String>,
    rules: &Rules,
    mistakes: &Mistakes,
) -> Option<IssuerName> {
    let Some(known) = &rules.trust_domains else { return name.parse().ok() };
    if let Some(found) = known.iter().find(|known| known.as_str() == name) {
        return Some(found.clone());
    }
    let remedy = match nearest(name, known.iter().map(IssuerName::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "configure it as [[trust_domain]]".to_owned(),
    };
    mistakes.add(&text.place, format!("no trust domain is configured as `{name}`"), remedy);
    None
}
