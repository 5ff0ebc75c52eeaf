//! What a search finds beside the events that bear the name that is asked for: the stops and lifts that hit a token, an
//! agent or an owner, and what was handed down from a token.
//!
//! All of it is found by the terms of the full blocks and the rows of the open one, so the log is not read through.

use std::collections::{BTreeSet, VecDeque};

use super::blocks::{self, Blocks, HOLDER, Term};
use super::sql::{Sql, values};
use super::tip::read_head;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::{AgentId, IssuerName, Owner, TokenId};
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::write::Recorded;

/// So many tokens are followed from one that was handed down; the nearest generations first.
const MAX_TOKENS: usize = 4096;

/// So many tokens that one came from are followed. A chain is shorter.
const MAX_PARENTS: usize = 64;

/// What counts as a match for each name of a filter.
#[derive(Debug, Default)]
pub(in crate::store) struct Related {
    /// The token that is asked for, and those that were handed down from it.
    pub(super) tokens: BTreeSet<TokenId>,
    pub(super) above: Option<Above>,
    pub(super) of_agent: BTreeSet<Target>,
    pub(super) of_owner: BTreeSet<Target>,
}

impl Related {
    pub(in crate::store) fn of(
        sql: &dyn Sql,
        head: &HeadRow,
        filter: &EventFilter,
        issuance: impl Fn(TokenId) -> Option<Recorded>,
    ) -> Result<Self, StoreError> {
        let mut related = Self::default();
        if let Some(token) = filter.token {
            related.tokens = descendants(sql, head, token)?;
            related.above = Above::of(token, issuance);
        }
        if filter.agent.is_some() || filter.owner.is_some() {
            let holders = Holders { sql, head };
            if let Some(agent) = &filter.agent {
                let found = holders.find(Some(agent), |_| true)?;
                related.of_agent = targets(found);
                related.of_agent.insert(Target::Agent(agent.clone()));
            }
            if let Some(owner) = &filter.owner {
                let found = holders.find(None, |holder| holder.1 == *owner)?;
                related.of_owner = targets(found);
                related.of_owner.insert(Target::Owner(owner.clone()));
            }
        }
        Ok(related)
    }

    /// Only what bears the token itself.
    pub(super) fn only(filter: &EventFilter) -> Self {
        Self { tokens: filter.token.into_iter().collect(), ..Self::default() }
    }

    /// Whether the names of `filter` mean this event.
    pub(super) fn means(&self, filter: &EventFilter, seq: u64, event: &Event) -> bool {
        let is_change = matches!(event.kind, Kind::RevocationStopped | Kind::RevocationLifted);
        let target = event.target.as_ref().filter(|_| is_change);
        let hits = |targets: &BTreeSet<Target>| target.is_some_and(|target| targets.contains(target));
        let of_token = |token: &Option<TokenId>| token.is_some_and(|token| self.tokens.contains(&token));
        let stopped = match target {
            Some(Target::Token(token)) => Some(*token),
            _ => None,
        };
        let above = self.above.as_ref().filter(|above| seq > above.issued && event.at < above.expires);
        let hits_token = above.is_some_and(|above| hits(&above.targets));
        (filter.token.is_none() || of_token(&event.token) || of_token(&stopped) || hits_token)
            && (filter.agent.is_none() || filter.agent == event.agent || hits(&self.of_agent))
            && (filter.owner.is_none() || filter.owner == event.owner || hits(&self.of_owner))
    }
}

/// What kills a token while it lives, beside its own stop and end: the stops of whoever holds it or a token that it came
/// from, and the ends of those.
#[derive(Debug)]
pub(super) struct Above {
    pub(super) targets: BTreeSet<Target>,
    /// The `seq` of the token's issuance.
    issued: u64,
    expires: Timestamp,
}

impl Above {
    /// None for a token that the log does not have, or not in a form that can be read.
    fn of(token: TokenId, issuance: impl Fn(TokenId) -> Option<Recorded>) -> Option<Self> {
        let mut above: Option<Self> = None;
        let mut next = Some(token);
        for _ in 0..MAX_PARENTS {
            let Some(id) = next else { break };
            let Some(issued) = issuance(id) else { break };
            let Some(event) = issued.event() else { break };
            let expires = event.expires()?.into();
            let new = || Self { targets: BTreeSet::from([Target::Everything]), issued: issued.seq, expires };
            let targets = &mut above.get_or_insert_with(new).targets;
            targets.insert(Target::Token(id));
            targets.extend(event.agent.map(Target::Agent));
            targets.extend(event.owner.map(Target::Owner));
            targets.extend(event.workload.and_then(|workload| workload.issuer()).map(Target::Issuer));
            next = event.parent;
        }
        above
    }
}

/// The token and those that were handed down from it, directly or not.
fn descendants(sql: &dyn Sql, head: &HeadRow, token: TokenId) -> Result<BTreeSet<TokenId>, StoreError> {
    let open = blocks::full(head.size);
    let issued = "SELECT token, bytes FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = ?3";
    let (mut found, mut next) = (BTreeSet::from([token]), VecDeque::from([token]));
    while let Some(parent) = next.pop_front() {
        let set = Blocks::With(Term::Parent(parent));
        // Within a string of the event its quotes would be escaped.
        let said = format!("\"parent\":\"{parent}\"");
        let mut block = Some(open);
        while let Some(at) = block {
            let (first, end) = (blocks::first_seq(at), blocks::first_seq(at + 1));
            sql.each(issued, values![first, end, Kind::TokenIssued.as_str()], |row| {
                if !row.text_if_any(1).contains(&said) {
                    return Ok(());
                }
                let child = row.text_if_any(0).parse().ok();
                if let Some(child) = child.filter(|_| found.len() < MAX_TOKENS)
                    && found.insert(child)
                {
                    next.push_back(child);
                }
                Ok(())
            })?;
            block = match at.checked_sub(1) {
                Some(earlier) => set.newest(sql, earlier)?,
                None => None,
            };
        }
    }
    Ok(found)
}

/// Whether a token was ever issued by a proof of `issuer`.
pub(in crate::store) fn was_issued_by(sql: &dyn Sql, issuer: &IssuerName) -> Result<bool, StoreError> {
    let head = read_head(sql)?;
    let holders = Holders { sql, head: &head };
    Ok(!holders.find(None, |(_, _, by)| by == issuer)?.is_empty())
}

/// An agent that was issued tokens, for its owner, by proofs of an issuer.
type Holder = (AgentId, Owner, IssuerName);

/// What a stop of any of them, or of everything, is called.
fn targets(holders: BTreeSet<Holder>) -> BTreeSet<Target> {
    let each = holders.into_iter().flat_map(|(agent, owner, issuer)| {
        [Target::Agent(agent), Target::Owner(owner), Target::Issuer(issuer)]
    });
    each.chain([Target::Everything]).collect()
}

struct Holders<'a> {
    sql: &'a dyn Sql,
    head: &'a HeadRow,
}

impl Holders<'_> {
    /// Those of `agent`, or of all, that `wanted` takes.
    fn find(
        &self,
        agent: Option<&AgentId>,
        wanted: impl Fn(&Holder) -> bool,
    ) -> Result<BTreeSet<Holder>, StoreError> {
        let mut found = BTreeSet::new();
        // From one term to the next other one, however many blocks have it.
        let prefix = agent.map_or_else(|| HOLDER.to_owned(), |agent| format!("{HOLDER}{agent} "));
        let mut last = prefix.clone();
        let after = "SELECT term FROM terms WHERE term > ?1 ORDER BY term LIMIT 1";
        while let Some(term) = self.sql.one(after, values![&*last], |row| Ok(row.text(0)?.to_owned()))? {
            let Some(rest) = term.strip_prefix(&prefix).and_then(|_| term.strip_prefix(HOLDER)) else {
                break;
            };
            found.extend(parse(rest.split(' ')).filter(&wanted));
            last = term;
        }
        let open = "SELECT DISTINCT agent, owner, issuer FROM events WHERE seq >= ?1 AND kind = ?2
                    AND agent = coalesce(?3, agent) AND owner IS NOT NULL AND issuer IS NOT NULL";
        let first = blocks::first_seq(blocks::full(self.head.size));
        let agent = agent.map(AgentId::as_str);
        self.sql.each(open, values![first, Kind::TokenIssued.as_str(), agent], |row| {
            let cells = [row.text(0)?, row.text(1)?, row.text(2)?];
            found.extend(parse(cells.into_iter()).filter(&wanted));
            Ok(())
        })?;
        Ok(found)
    }
}

fn parse<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<Holder> {
    let mut next = || names.next();
    Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
}
