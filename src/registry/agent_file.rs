//! One agent's file → [`Said`].

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::document::{Document, FLAW_REMEDY, Field, Located, Mistakes, Place, Table, show_duration};
use crate::domain::agent::Agent;
use crate::domain::diagnostic::is_deceptive;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::{AgentId, Owner, PermissionName};
use crate::domain::permission::{Permission, ResourceKind};
use crate::registry::reading::Said;
use crate::registry::{Rules, identity_rule, resource};

/// A purpose is a sentence, shown in lists and on approvals.
const MAX_PURPOSE: usize = 300;

/// Reads everything that can be read; what is wrong goes to `mistakes`.
pub(super) fn read(document: &Document<'_>, id: Option<AgentId>, rules: &Rules, mistakes: &Mistakes) -> Said {
    let root = document.root(mistakes);
    let purpose = purpose(root.key("purpose", "\"Says in one sentence what the agent is for.\""), mistakes);
    let owner = root.key("owner", "\"team-payments\"").required().parse::<Owner>();
    let max_ttl = max_ttl(root.key("max_ttl", "\"10m\""), rules, mistakes);
    let tokens_per_minute = tokens_per_minute(root.key("tokens_per_minute", "60"), rules, mistakes);
    let require = root.key("require", "\"sender-constrained\"").parse::<Requirement>();
    let delegates =
        may_delegate_to(root.key("may_delegate_to", "[\"test-runner\"]"), id.as_ref(), rules, mistakes);
    let tables = root.list_of_tables("identity");
    if tables.is_empty() && !root.has("identity") {
        let place = Place { key: "identity".into(), ..root.place() };
        let remedy = "write [[identity]] with issuer and claims, with spiffe, or with key";
        mistakes.add(&place, "is missing, so no workload could prove to be this agent", remedy);
    }
    let identities = tables.into_iter().filter_map(|table| identity_rule::read(&table, rules, mistakes));
    let (identities, places): (Vec<_>, Vec<_>) = identities.map(|rule| (rule.value, rule.place)).unzip();
    let permissions = permissions(&root, rules, mistakes);
    let Some(((purpose, owner), id)) = purpose.zip(owner).zip(id) else {
        return Said { agent: None, orphans: identities, places, delegates };
    };
    let agent = Agent {
        id,
        purpose: purpose.value,
        owner: owner.value,
        max_ttl,
        tokens_per_minute,
        sender_constrained: require.is_some(),
        may_delegate_to: delegates.iter().map(|delegate| delegate.value.clone()).collect(),
        identities,
        permissions,
    };
    Said { agent: Some(Arc::new(agent)), orphans: Vec::new(), places, delegates }
}

/// Whether each is registered is judged once all files are read.
fn may_delegate_to(
    field: Field<'_>,
    own: Option<&AgentId>,
    rules: &Rules,
    mistakes: &Mistakes,
) -> Vec<Located<AgentId>> {
    let place = field.place().clone();
    let listed = if field.is_present() { field.filled_list::<AgentId>() } else { None };
    let listed = listed.map(|list| list.value).unwrap_or_default();
    if !listed.is_empty() && rules.guardrails.max_delegation_depth == 0 {
        let problem = "guardrails.max_delegation_depth is 0, so no agent may delegate";
        mistakes.add(&place, problem, "take it out, or raise that guardrail");
    }
    for delegate in listed.iter().filter(|delegate| Some(&delegate.value) == own) {
        mistakes.add(
            &delegate.place,
            "is this agent itself",
            "take it out: an agent can narrow its own tokens",
        );
    }
    listed
}

/// What `require` can demand.
struct Requirement;

impl FromStr for Requirement {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            Agent::SENDER_CONSTRAINED => Ok(Self),
            _ => Err("is not a requirement that hallpass knows"),
        }
    }
}

fn purpose(field: Field<'_>, mistakes: &Mistakes) -> Option<Located<String>> {
    let purpose = field.required().prose()?;
    if purpose.value.trim() != purpose.value {
        mistakes.add(&purpose.place, "has white space around it", FLAW_REMEDY);
        return None;
    }
    if purpose.value.chars().any(is_deceptive) {
        mistakes.add(
            &purpose.place,
            "has a line break or a character that does not show",
            "write one plain sentence",
        );
        return None;
    }
    if purpose.value.chars().count() > MAX_PURPOSE {
        mistakes.add(&purpose.place, "is too long", format!("write at most {MAX_PURPOSE} characters"));
        return None;
    }
    Some(purpose)
}

fn max_ttl(field: Field<'_>, rules: &Rules, mistakes: &Mistakes) -> Option<Duration> {
    let max_ttl = field.whole_seconds(Duration::from_secs(1)..=MAX_TOKEN_LIFETIME)?;
    let limit = rules.guardrails.max_ttl;
    if max_ttl.value > limit {
        let (has, limit) = (show_duration(max_ttl.value), show_duration(limit));
        let problem = format!("{has} is over guardrails.max_ttl, {limit}");
        mistakes.add(&max_ttl.place, problem, format!("write at most {limit}"));
    }
    Some(max_ttl.value)
}

fn tokens_per_minute(field: Field<'_>, rules: &Rules, mistakes: &Mistakes) -> Option<u32> {
    let rate = field.number()?;
    if rate.value == 0 {
        mistakes.add(
            &rate.place,
            "0 would let it have no token",
            "write at least 1, or leave the key out for the limit of all agents",
        );
    }
    if let Some(limit) = rules.tokens_per_minute.filter(|limit| rate.value > limit.get()) {
        let problem = format!("{} is over limits.tokens_per_minute, {limit}", rate.value);
        mistakes.add(&rate.place, problem, format!("write at most {limit}"));
    }
    Some(rate.value)
}

fn permissions(root: &Table<'_>, rules: &Rules, mistakes: &Mistakes) -> Vec<Permission> {
    let repositories = root.list_of_tables("repository");
    let endpoints = root.list_of_tables("endpoint");
    if repositories.is_empty() && endpoints.is_empty() && !root.has("repository") && !root.has("endpoint") {
        let place = Place { key: String::new(), ..root.place() };
        let remedy = "write [[repository]] or [[endpoint]] with what it may do";
        mistakes.add(&place, "the agent has no permission", remedy);
    }
    let of = |kind, tables: Vec<Table<'_>>| {
        let read = |table: Table<'_>| resource::read(&table, kind, rules, mistakes);
        tables.into_iter().map(read).collect::<Vec<_>>()
    };
    let mut all = of(ResourceKind::GitRepository, repositories);
    all.extend(of(ResourceKind::HttpEndpoint, endpoints));

    let mut names: BTreeMap<PermissionName, Place> = BTreeMap::new();
    for name in all.iter().filter_map(|read| read.name.clone()) {
        match names.get(&name.value) {
            Some(first) => {
                let problem = format!("`{}` is also the name of {}", name.value, first.key);
                mistakes.add(&name.place, problem, "give each permission a name of its own");
            }
            None => drop(names.insert(name.value, name.place)),
        }
    }
    all.into_iter().filter_map(|read| read.permission).collect()
}
