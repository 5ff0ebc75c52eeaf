//! `[[repository]]` and `[[endpoint]]`: what an agent may do, held against the guardrails.

use std::collections::BTreeSet;

use crate::document::{Field, Located, Mistakes, Place, Table, is_near};
use crate::domain::guardrails::{Guardrails, PRODUCTION};
use crate::domain::id::PermissionName;
use crate::domain::pattern::Pattern;
use crate::domain::permission::{Action, Location, Permission, ResourceKind, Tier};
use crate::registry::Rules;
use crate::registry::identity_rule::regular_expression;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const WORDS: &[&str] = &["read", "push", "merge", "deploy", "secrets:read", "access:write"];

/// What people write for [`PRODUCTION`], and what then no guardrail would rule.
const MEANT_PRODUCTION: &[&str] = &["prod", "prd", "live"];

pub(super) struct Read {
    pub(super) name: Option<Located<PermissionName>>,
    pub(super) permission: Option<Permission>,
}

/// Reads one `[[repository]]` or `[[endpoint]]`.
pub(super) fn read(table: &Table<'_>, kind: ResourceKind, rules: &Rules, mistakes: &Mistakes) -> Read {
    let words = Words::of(kind);
    let name = table.key("name", words.name).required().parse::<PermissionName>();
    let location = location(table.key("url", words.url).required(), kind, mistakes);
    let environment = environment(table.key("environment", "\"staging\""), mistakes);
    let patterns = patterns(table.key(words.patterns_key, words.patterns), kind, mistakes);
    let (free_key, gated_key) = (table.key("free", words.actions), table.key("gated", words.actions));
    let silent = [&free_key, &gated_key].iter().all(|key| key.is_empty_list());
    let free = actions(free_key, kind, mistakes);
    let gated = actions(gated_key, kind, mistakes);
    if silent {
        let remedy = format!("write free = {}", words.actions);
        mistakes.add(&table.place(), "allows nothing", remedy);
    }
    let judge = Judge { guardrails: &rules.guardrails, environment: environment.as_deref(), mistakes };
    judge.actions(&free, Tier::Free);
    judge.actions(&gated, Tier::Gated);
    judge.both(&free, &gated);
    judge.patterns(&patterns, kind, free.iter().chain(&gated));
    let values = |actions: Vec<Located<Action>>| actions.into_iter().map(|action| action.value);
    let permission = name.clone().zip(location).map(|(name, location)| Permission {
        name: name.value,
        kind,
        location,
        environment,
        patterns: patterns.list.into_iter().map(|pattern| pattern.value).collect(),
        free: values(free).collect(),
        gated: values(gated).collect(),
    });
    Read { name, permission }
}

/// How the kinds differ in their files.
struct Words {
    name: &'static str,
    url: &'static str,
    patterns_key: &'static str,
    patterns: &'static str,
    actions: &'static str,
}

impl Words {
    const fn of(kind: ResourceKind) -> Self {
        match kind {
            ResourceKind::GitRepository => Self {
                name: "\"payments\"",
                url: "\"https://github.com/acme/payments\"",
                patterns_key: "refs",
                patterns: "[\"refs/heads/agent/*\"]",
                actions: "[\"read\"]",
            },
            ResourceKind::HttpEndpoint => Self {
                name: "\"ledger\"",
                url: "\"https://ledger.staging.acme.internal\"",
                patterns_key: "paths",
                patterns: "[\"/v1/entries/**\"]",
                actions: "[\"GET\"]",
            },
        }
    }
}

fn location(field: Field<'_>, kind: ResourceKind, mistakes: &Mistakes) -> Option<Location> {
    let location = field.parse::<Location>()?;
    match (kind, location.value.is_origin()) {
        (ResourceKind::HttpEndpoint, false) => {
            let remedy = format!("write url = \"{}\", and the path in paths", location.value.origin());
            mistakes.add(&location.place, "has a path", remedy);
        }
        (ResourceKind::GitRepository, true) => {
            let remedy = "write the repository's own URL, such as https://github.com/acme/payments";
            mistakes.add(&location.place, "names a whole host", remedy);
        }
        _ => {}
    }
    Some(location.value)
}

fn environment(field: Field<'_>, mistakes: &Mistakes) -> Option<String> {
    let environment = field.text()?;
    let name = environment.value.as_str();
    let valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    let meant = MEANT_PRODUCTION.contains(&name.to_ascii_lowercase().as_str())
        || (name != PRODUCTION && name.eq_ignore_ascii_case(PRODUCTION))
        || is_near(name, PRODUCTION, 2);
    if meant {
        let problem = "would escape guardrails.production, which rules the environment `production` alone";
        mistakes.add(&environment.place, problem, "write environment = \"production\"");
    } else if !valid {
        let remedy = "write 1 to 64 of a-z 0-9 . _ -, such as \"staging\"";
        mistakes.add(&environment.place, "is not an environment's name", remedy);
    }
    Some(environment.value)
}

struct Patterns {
    list: Vec<Located<Pattern>>,
    /// The key, or where it is missing the table.
    place: Place,
    /// Whether the key is there at all.
    present: bool,
}

fn patterns(field: Field<'_>, kind: ResourceKind, mistakes: &Mistakes) -> Patterns {
    let (beginning, what) = match kind {
        ResourceKind::GitRepository => ("refs/", "a ref"),
        ResourceKind::HttpEndpoint => ("/", "a path"),
    };
    let (place, remedy, present) = (field.place().clone(), field.remedy(), field.is_present());
    let list = field.filled_list::<Pattern>().map(|list| list.value).unwrap_or_default();
    for pattern in &list {
        if let Some(sign) = regular_expression(pattern.value.as_str()) {
            let problem = format!("`{sign}` looks like a regular expression, which no policy here is");
            let remedy = "`*` stands for what lies between two `/`, and `**` at the end for all that follows";
            mistakes.add(&pattern.place, problem, remedy);
        } else if !pattern.value.as_str().starts_with(beginning) {
            let problem = format!("{what} starts with `{beginning}`");
            mistakes.add(&pattern.place, problem, remedy.clone());
        }
    }
    Patterns { list, place, present }
}

fn actions(field: Field<'_>, kind: ResourceKind, mistakes: &Mistakes) -> Vec<Located<Action>> {
    let (known, remedy) = match kind {
        ResourceKind::GitRepository => (WORDS, "write words such as read, push or merge"),
        ResourceKind::HttpEndpoint => (METHODS, "write HTTP methods such as GET or POST"),
    };
    let actions = field.list::<Action>().map(|list| list.value).unwrap_or_default();
    for action in &actions {
        let word = action.value.as_str();
        if !action.value.fits(kind) {
            let problem = match kind {
                ResourceKind::GitRepository => format!("`{word}` is no action on a repository"),
                ResourceKind::HttpEndpoint => format!("`{word}` is no action on an endpoint"),
            };
            mistakes.add(&action.place, problem, remedy);
        } else if !known.contains(&word)
            && let Some(near) = known.iter().find(|near| is_near(word, near, 1))
        {
            mistakes.add(
                &action.place,
                format!("`{word}` is no known action"),
                format!("did you mean `{near}`?"),
            );
        }
    }
    actions
}

/// Holds one permission against the guardrails.
struct Judge<'a> {
    guardrails: &'a Guardrails,
    environment: Option<&'a str>,
    mistakes: &'a Mistakes,
}

impl Judge<'_> {
    fn actions(&self, actions: &[Located<Action>], written: Tier) {
        for action in actions {
            let word = action.value.as_str();
            let refuse = |problem: String, remedy: &str| self.mistakes.add(&action.place, problem, remedy);
            if self.guardrails.never.contains(&action.value) {
                refuse(format!("guardrails.never forbids `{word}`"), "take it out");
            } else if self.environment == Some(PRODUCTION) && self.guardrails.production > written {
                match self.guardrails.production {
                    Tier::Forbidden => {
                        refuse(
                            "guardrails.production forbids every action in production".into(),
                            "take it out",
                        );
                    }
                    _ => refuse(
                        format!("guardrails.production gates every action in production, `{word}` too"),
                        "move it to gated",
                    ),
                }
            } else if written == Tier::Free && self.guardrails.always_gated.contains(&action.value) {
                refuse(format!("guardrails.always_gated gates `{word}`"), "move it to gated");
            }
        }
    }

    fn both(&self, free: &[Located<Action>], gated: &[Located<Action>]) {
        let free: BTreeSet<&Action> = free.iter().map(|action| &action.value).collect();
        for action in gated.iter().filter(|action| free.contains(&action.value)) {
            let problem = format!("`{}` is both free and gated", action.value);
            self.mistakes.add(&action.place, problem, "keep it in one of the two");
        }
    }

    /// Where a pattern is due, and whether one reaches what is protected.
    fn patterns<'a>(
        &self,
        patterns: &Patterns,
        kind: ResourceKind,
        actions: impl Iterator<Item = &'a Located<Action>>,
    ) {
        let writer = actions.map(|action| &action.value).find(|action| action.writes_refs());
        match (kind, writer) {
            (ResourceKind::HttpEndpoint, _) if !patterns.present => {
                let remedy = "write paths = [\"/v1/entries/**\"], or [\"/**\"] for every path";
                self.mistakes.add(&patterns.place, "is missing", remedy);
            }
            (ResourceKind::GitRepository, Some(action)) if !patterns.present => {
                let problem = format!("is missing, so `{action}` would reach every ref");
                self.mistakes.add(&patterns.place, problem, "write refs = [\"refs/heads/agent/*\"]");
            }
            (ResourceKind::GitRepository, Some(action)) => {
                for pattern in &patterns.list {
                    self.protected(pattern, action);
                }
            }
            _ => {}
        }
    }

    fn protected(&self, pattern: &Located<Pattern>, action: &Action) {
        let reached = self.guardrails.protected_refs.iter().find(|p| p.overlaps(&pattern.value));
        if let Some(protected) = reached {
            let problem =
                format!("`{action}` to {} could reach {protected}, which guardrails protect", pattern.value);
            self.mistakes.add(&pattern.place, problem, "write a narrower ref, such as refs/heads/agent/*");
        }
    }
}
