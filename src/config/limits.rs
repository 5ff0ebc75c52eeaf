//! `[guardrails]` and `[limits]`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::broker::settings::Limits;
use crate::document::{Field, Located, Mistakes, Table};
use crate::domain::guardrails::{Guardrails, MAX_TOKEN_LIFETIME};
use crate::domain::pattern::Pattern;
use crate::domain::permission::{Action, Tier};
use crate::http::settings::PublicLimits;

const DEFAULT_MAX_TTL: Duration = Duration::from_secs(15 * 60);
const DEFAULT_PROTECTED: &[&str] = &["refs/heads/main", "refs/heads/release/**"];
const DEFAULT_GATED: &[&str] = &["merge", "deploy"];
const DEFAULT_NEVER: &[&str] = &["secrets:read", "access:write"];

const DEFAULT_DEPTH: u32 = 3;
/// Each hand makes the token longer, and its chain harder to read.
const MAX_DEPTH: u32 = 8;

const DEFAULT_TOKENS: u32 = 6000;
const DEFAULT_REFUSALS: u32 = 60;
/// About a gigabyte a day.
const DEFAULT_REFUSAL_EVENTS: u32 = 600;

const DEFAULT_CONNECTIONS: u32 = 8192;
/// More than the 5,000 agents of a fleet behind one address, and room for others beside them.
const DEFAULT_PER_SOURCE: u32 = 6144;
/// Over the 60 seconds after which common load balancers close their side, so that the broker never closes first.
const DEFAULT_IDLE: Duration = Duration::from_secs(75);
const IDLE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);
const DEFAULT_MEMORY_MIB: u32 = 160;
const LEAST_MEMORY_MIB: u32 = 16;
const MOST_MEMORY_MIB: u32 = 65_536;

/// The guardrails, whose `ttl` is still to come from `[token]`. What could not be read guards nothing: agent
/// files are judged by the rest, and no configuration comes of it.
pub(super) fn guardrails(root: &Table<'_>, mistakes: &Mistakes) -> Guardrails {
    let section = root.section("guardrails");
    let lifetime = Duration::from_secs(1)..=MAX_TOKEN_LIFETIME;
    let max_ttl =
        section.key("max_ttl", "\"15m\"").or(DEFAULT_MAX_TTL, |field| field.whole_seconds(lifetime));
    let protected: Vec<Located<Pattern>> =
        list(section.key("protected_refs", "[\"refs/heads/main\"]"), DEFAULT_PROTECTED);
    for pattern in protected.iter().filter(|pattern| !pattern.value.as_str().starts_with("refs/")) {
        let remedy = format!("write \"refs/heads/{}\"", pattern.value);
        mistakes.add(&pattern.place, "a ref starts with `refs/`, so this protects nothing", remedy);
    }
    let gated: Vec<Located<Action>> = list(section.key("always_gated", "[\"merge\"]"), DEFAULT_GATED);
    let never: Vec<Located<Action>> = list(section.key("never", "[\"secrets:read\"]"), DEFAULT_NEVER);
    let written = gated.iter().filter(|_| section.has("always_gated"));
    for action in written.filter(|action| never.iter().any(|other| other.value == action.value)) {
        let problem = format!("`{}` is in guardrails.never too", action.value);
        mistakes.add(&action.place, problem, "keep it in one of the two");
    }
    let production = section.key("production", "\"gated\"");
    let production = if production.is_present() {
        production.parse::<TierName>().map_or(Tier::Free, |tier| tier.value.0)
    } else {
        Tier::Gated
    };
    let depth = section.key("max_delegation_depth", "3").or(DEFAULT_DEPTH, |field| field.number());
    if let Some(depth) = depth.as_ref().filter(|depth| depth.value > MAX_DEPTH) {
        let problem = format!("{} is more than anybody could follow", depth.value);
        mistakes.add(&depth.place, problem, format!("write at most {MAX_DEPTH}; 0 forbids delegation"));
    }
    let max_ttl = max_ttl.map_or(MAX_TOKEN_LIFETIME, |max_ttl| max_ttl.value);
    let set = |actions: Vec<Located<Action>>| -> BTreeSet<Action> {
        actions.into_iter().map(|action| action.value).collect()
    };
    Guardrails {
        ttl: max_ttl,
        max_ttl,
        protected_refs: protected.into_iter().map(|pattern| pattern.value).collect(),
        always_gated: set(gated),
        never: set(never),
        production,
        max_delegation_depth: depth.map_or(0, |depth| depth.value),
    }
}

fn list<T: FromStr<Err: Display> + PartialEq>(field: Field<'_>, default: &[&str]) -> Vec<Located<T>> {
    let place = field.place().clone();
    if field.is_present() {
        return field.list().map(|list| list.value).unwrap_or_default();
    }
    let parsed = default.iter().filter_map(|text| text.parse().ok());
    parsed.map(|value| Located { value, place: place.clone() }).collect()
}

/// The rates, and what bounds that which public callers hold.
pub(super) fn limits(root: &Table<'_>, mistakes: &Mistakes) -> (Option<Limits>, Option<PublicLimits>) {
    let section = root.section("limits");
    let number = |key, example, default| section.key(key, example).or(default, |field| field.number());
    let tokens = number("tokens_per_minute", "6000", DEFAULT_TOKENS);
    let refusals = number("refusals_per_minute", "60", DEFAULT_REFUSALS);
    let events = number("refusal_events_per_minute", "600", DEFAULT_REFUSAL_EVENTS);
    let connections = number("connections", "8192", DEFAULT_CONNECTIONS);
    let per_source = number("connections_per_source", "6144", DEFAULT_PER_SOURCE);
    let memory = number("request_memory_mib", "160", DEFAULT_MEMORY_MIB);
    let range = LEAST_MEMORY_MIB..=MOST_MEMORY_MIB;
    if let Some(memory) = memory.as_ref().filter(|memory| !range.contains(&memory.value)) {
        let problem = format!("{} is not from {LEAST_MEMORY_MIB} to {MOST_MEMORY_MIB}", memory.value);
        mistakes.add(&memory.place, problem, format!("write request_memory_mib = {DEFAULT_MEMORY_MIB}"));
    }
    let idle = section.key("idle_connections", "\"75s\"").or(DEFAULT_IDLE, |field| field.duration(IDLE));
    let nonzero = |number: Located<u32>| NonZeroU32::new(number.value);
    let rates = tokens.zip(refusals).zip(events).map(|((tokens, refusals), events)| Limits {
        tokens_per_minute: nonzero(tokens),
        refusals_per_minute: nonzero(refusals),
        refusal_events_per_minute: nonzero(events),
    });
    let public = || {
        Some(PublicLimits {
            connections: nonzero(connections?),
            per_source: nonzero(per_source?),
            memory: (memory?.value as usize) << 20,
            idle: idle?.value,
        })
    };
    (rates, public())
}

struct TierName(Tier);

impl FromStr for TierName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "free" => Ok(Self(Tier::Free)),
            "gated" => Ok(Self(Tier::Gated)),
            "forbidden" => Ok(Self(Tier::Forbidden)),
            _ => Err("is not one of free, gated and forbidden"),
        }
    }
}
