//! Whether a rule's claims are safe to lean on, platform by platform.
//!
//! A claim is no proof of anything if a stranger can have the same: a name can be given up and taken by
//! another, a branch be named by whoever opens a pull request. What would hand an agent's identity to a
//! stranger is refused; what is weaker than it need be is warned about. Each says what to write instead.
//!
//! `identity_rule` asks for each rule whose issuer has a `kind`. `docs/IDENTITIES.md` is the same for people.

mod azure;
mod forge;
mod github;
mod gitlab;
mod google;
mod kubernetes;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::document::{Located, Mistakes, Place, wrong_value};
use crate::domain::pattern::ClaimPattern;
use crate::domain::platform::{Platform, is_below_kubernetes};

/// The claims of one rule, and what is found of them.
pub(super) struct Claims<'r> {
    rules: &'r BTreeMap<String, Located<ClaimPattern>>,
    /// Of all of them.
    place: &'r Place,
    mistakes: &'r Mistakes,
    refused: Cell<bool>,
}

/// Whether nothing in the rule has to be refused. Tells what is wrong and what is weak.
pub(super) fn are_safe(
    platform: Platform,
    rules: &BTreeMap<String, Located<ClaimPattern>>,
    place: &Place,
    mistakes: &Mistakes,
) -> bool {
    let claims = Claims { rules, place, mistakes, refused: Cell::new(false) };
    match platform {
        Platform::Oidc => {}
        Platform::Github => github::judge(&claims),
        Platform::Gitlab => gitlab::judge(&claims),
        Platform::Kubernetes => kubernetes::judge(&claims),
        Platform::Google => google::judge(&claims),
        Platform::Azure => azure::judge(&claims),
    }
    if platform != Platform::Kubernetes {
        for name in rules.keys().filter(|name| is_below_kubernetes(name)) {
            claims.refuse(
                name,
                "nested claims are read of Kubernetes alone",
                "write kind = \"kubernetes\" at the issuer, or leave the claim out",
            );
        }
    }
    !claims.refused.get()
}

impl<'r> Claims<'r> {
    fn pattern(&self, name: &str) -> Option<&'r ClaimPattern> {
        self.rules.get(name).map(|rule| &rule.value)
    }

    fn has(&self, name: &str) -> bool {
        self.rules.contains_key(name)
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The one value that the rule accepts of a claim.
    fn exact(&self, name: &str) -> Option<&'r str> {
        self.pattern(name).filter(|pattern| pattern.is_exact()).map(ClaimPattern::as_str)
    }

    /// What goes before the first star of a claim's pattern.
    fn start(&self, name: &str) -> &'r str {
        self.pattern(name).map_or("", ClaimPattern::prefix)
    }

    /// Whether the rule accepts a value of `claim` that `values` matches.
    fn meets(&self, claim: &str, values: &str) -> bool {
        self.pattern(claim).is_some_and(|pattern| overlaps(pattern, values))
    }

    /// Refuses the rule, for one of its claims, or for all where it has none of that name.
    fn refuse(&self, claim: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.refused.set(true);
        self.mistakes.add(self.place_of(claim), problem, remedy);
    }

    fn warn(&self, claim: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.warn(self.place_of(claim), problem, remedy);
    }

    fn place_of(&self, claim: &str) -> &Place {
        self.rules.get(claim).map_or(self.place, |rule| &rule.place)
    }

    /// Refuses ids that are no ids: with a star, or in another form than the platform gives them.
    fn check_ids(&self, names: &[&str], is_id: impl Fn(&str) -> bool, example: &str) {
        for name in names.iter().filter(|name| self.has(name)) {
            match self.exact(name) {
                None => self.refuse(
                    name,
                    "a star in an id lets others match",
                    format!("write the whole id, such as {example}"),
                ),
                Some(id) if !is_id(id) => {
                    let problem = wrong_value(id, "is not an id");
                    self.refuse(name, problem, format!("write the id, such as {example}"));
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether `pattern` and `values`, a pattern too, share a value.
fn overlaps(pattern: &ClaimPattern, values: &str) -> bool {
    values.parse::<ClaimPattern>().is_ok_and(|values| pattern.overlaps(&values))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 9562 §4, in lower case as the platforms write it: claims are compared byte for byte.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && !text.bytes().any(|byte| byte.is_ascii_uppercase())
        && uuid::Uuid::try_parse(text).is_ok()
}
