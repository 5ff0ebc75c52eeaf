//! What tokens live now: counted from the events of the last hour, the longest that any token lives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::blocks::{self, Blocks, Term};
use super::events;
use super::sql::{Sql, values};
use super::tip::read_head;
use crate::domain::event::{Event, Kind};
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::{AgentId, Owner, TokenId};
use crate::domain::identity::Workload;
use crate::domain::permission::{GrantedPermission, ResourceKind};
use crate::domain::revocation::{Book, Holder, Levels, Revision, Target, Verdict};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::record;

/// What an agent has had issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    pub last_issued: Option<Timestamp>,
    /// Tokens that are neither expired nor dead by a stop.
    pub live: u64,
}

/// What a stop would hit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Tokens that are neither expired nor dead already.
    pub tokens: u64,
    /// The agents of those tokens.
    pub agents: BTreeSet<AgentId>,
    /// The URLs of the git repositories that they open.
    pub repositories: BTreeSet<String>,
}

/// The parts of an issuance that say what covers its token.
#[derive(Deserialize)]
struct IssuedRow {
    agent: AgentId,
    owner: Owner,
    workload: Workload,
    token: TokenId,
    #[serde(default)]
    as_of: Revision,
    parent: Option<TokenId>,
}

impl IssuedRow {
    /// What covers the token; `None` where the issuance of one above it is not in the log.
    fn levels(
        self,
        sql: &dyn Sql,
        known: &mut HashMap<TokenId, Option<Levels>>,
    ) -> Result<Option<Levels>, StoreError> {
        let Some(issuer) = self.workload.issuer() else { return Ok(None) };
        let holder = Holder { agent: self.agent, owner: self.owner, issuer };
        let asked = match self.parent {
            None => Some(Levels::asked_by(holder)),
            Some(parent) => chain(sql, parent, known)?.map(|above| above.handed_to(holder)),
        };
        Ok(asked.map(|levels| levels.decided(self.token, self.as_of)))
    }
}

/// The part that says what it opens.
#[derive(Deserialize)]
struct Opens {
    #[serde(default)]
    permissions: Vec<GrantedPermission>,
}

const ISSUED: &str = "SELECT bytes FROM events
    WHERE seq >= ?1 AND seq < ?2 AND at > ?3 AND expires > ?4 AND kind = 'token.issued'";

/// Events that are asked for at once.
const PART: u64 = 16 * blocks::SIZE;

/// Calls `each` with the issuance of every token that lives at `now`.
fn live_tokens(
    sql: &dyn Sql,
    books: &[Arc<Book>],
    now: Timestamp,
    mut each: impl FnMut(&str, &Levels) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let since = now - MAX_TOKEN_LIFETIME - Duration::from_secs(1);
    let head = read_head(sql)?;
    let first = blocks::edge(sql, blocks::full(head.size), since - head.span.skew)?;
    let known: Vec<&Book> = books.iter().map(|book| &**book).collect();
    let mut parents = HashMap::new();
    let mut next = blocks::first_seq(first);
    while next <= head.size {
        let part = values![next, next + PART, since.millis(), now.seconds()];
        sql.each(ISSUED, part, |row| {
            let bytes = row.text_if_any(0);
            if let Some(levels) = parse::<IssuedRow>(bytes)?.levels(sql, &mut parents)?
                && !Verdict::of(&levels, &known).is_dead()
            {
                each(bytes, &levels)?;
            }
            Ok(())
        })?;
        next += PART;
    }
    Ok(())
}

/// What covers the token that another was handed down from, by the events of their issuance; `None` where there
/// is none.
fn chain(
    sql: &dyn Sql,
    token: TokenId,
    known: &mut HashMap<TokenId, Option<Levels>>,
) -> Result<Option<Levels>, StoreError> {
    if let Some(levels) = known.get(&token) {
        return Ok(levels.clone());
    }
    let levels = match events::issuance(sql, token)? {
        Some(event) => parse::<IssuedRow>(&event.bytes)?.levels(sql, known)?,
        None => None,
    };
    known.insert(token, levels.clone());
    Ok(levels)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(bytes)
        .map_err(|error| StoreError::Damaged(format!("an issuance cannot be read: {error}")))
}

/// The number of an event, which its bytes say first.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// The newest `limit` issuances of tokens that `agent` holds and that live at `now`, the newest first.
pub(in crate::store) fn of_agent(
    sql: &dyn Sql,
    agent: &AgentId,
    books: &[Arc<Book>],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let mut newest = BTreeMap::new();
    live_tokens(sql, books, now, |bytes, levels| {
        if levels.holder().agent == *agent {
            newest.insert(parse::<Numbered>(bytes)?.seq, bytes.to_owned());
            if newest.len() > limit {
                newest.pop_first();
            }
        }
        Ok(())
    })?;
    let event = |(seq, bytes): (u64, String)| {
        record::parse(seq, &bytes).map_err(|error| StoreError::Damaged(format!("the event {seq}: {error}")))
    };
    newest.into_iter().rev().map(event).collect()
}

pub(in crate::store) fn of_agents(
    sql: &dyn Sql,
    agents: Vec<AgentId>,
    books: &[Arc<Book>],
    now: Timestamp,
) -> Result<HashMap<AgentId, Activity>, StoreError> {
    let mut activity: HashMap<AgentId, Activity> =
        agents.into_iter().map(|agent| (agent, Activity::default())).collect();
    last_issued(sql, &mut activity)?;
    live_tokens(sql, books, now, |_, levels| {
        if let Some(activity) = activity.get_mut(&levels.holder().agent) {
            activity.live += 1;
        }
        Ok(())
    })?;
    Ok(activity)
}

/// Finds when each agent was issued its last token. Each block is read once, however many agents it is about.
fn last_issued(sql: &dyn Sql, activity: &mut HashMap<AgentId, Activity>) -> Result<(), StoreError> {
    let full = blocks::full(read_head(sql)?.size);
    let mut wanted: BTreeSet<u64> = BTreeSet::from([full]);
    for agent in activity.keys() {
        let issued = Blocks::With(Term::Agent(agent.clone(), Kind::TokenIssued));
        wanted.extend(issued.newest(sql, full)?);
    }
    let issued =
        "SELECT agent, at FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = 'token.issued' ORDER BY seq";
    // The oldest first, so that what is later stays.
    for block in wanted {
        sql.each(issued, values![blocks::first_seq(block), blocks::first_seq(block + 1)], |row| {
            let agent = row.text_if_any(0).parse();
            if let Some(activity) = agent.ok().and_then(|agent: AgentId| activity.get_mut(&agent)) {
                activity.last_issued = Some(Timestamp::from_millis(row.int(1)?));
            }
            Ok(())
        })?;
    }
    Ok(())
}

pub(in crate::store) fn reach(
    sql: &dyn Sql,
    target: &Target,
    books: &[Arc<Book>],
    now: Timestamp,
) -> Result<Reach, StoreError> {
    let mut reach = Reach::default();
    live_tokens(sql, books, now, |bytes, levels| {
        if !levels.targets().contains(target) {
            return Ok(());
        }
        reach.tokens += 1;
        reach.agents.insert(levels.holder().agent.clone());
        let Opens { permissions } = parse(bytes)?;
        for permission in permissions.iter().filter(|p| p.kind == ResourceKind::GitRepository) {
            reach.repositories.extend(permission.locations.iter().map(|at| at.as_str().to_owned()));
        }
        Ok(())
    })?;
    Ok(reach)
}
