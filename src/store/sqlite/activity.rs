//! What tokens live now: counted from the events of the last hour, the longest that any token lives.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;
use serde::Deserialize;

use super::blocks::{self, Blocks, Term};
use super::events;
use super::tip::{read_head, sql_int};
use crate::domain::event::Kind;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::{AgentId, Owner, TokenId};
use crate::domain::identity::Workload;
use crate::domain::permission::{GrantedPermission, ResourceKind};
use crate::domain::revocation::{Holder, Levels, StopBook, Target};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;

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
struct Issued {
    at: Timestamp,
    agent: AgentId,
    owner: Owner,
    workload: Workload,
    token: TokenId,
    parent: Option<TokenId>,
}

/// The part that says what it opens.
#[derive(Deserialize)]
struct Opens {
    #[serde(default)]
    permissions: Vec<GrantedPermission>,
}

const ISSUED: &str = "SELECT bytes FROM events
    WHERE seq >= ?1 AND at > ?2 AND expires > ?3 AND kind = 'token.issued'";

/// Calls `each` with the issuance of every token that lives at `now`.
fn live_tokens(
    connection: &Connection,
    book: &StopBook,
    now: Timestamp,
    mut each: impl FnMut(&str, &Levels) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let since = (now - MAX_TOKEN_LIFETIME).millis() - 1000;
    let head = read_head(connection)?;
    let first = blocks::edge(connection, blocks::full(head.size), since.saturating_sub(head.span.skew))?;
    let mut statement = connection.prepare_cached(ISSUED)?;
    let mut rows = statement.query([sql_int(blocks::first_seq(first)), since, now.seconds()])?;
    let mut parents = HashMap::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_str().unwrap_or_default();
        let Issued { at, agent, owner, workload, token, parent } = parse(bytes)?;
        let Some(issuer) = workload.issuer() else { continue };
        let holder = Holder { agent, owner, issuer };
        let levels = match parent {
            None => Levels::of(token, holder),
            Some(parent) => {
                let Some(above) = chain(connection, parent, &mut parents)? else { continue };
                let mut levels = above.handed_to(holder);
                levels.tokens.insert(0, token);
                levels
            }
        };
        if !book.verdict(&levels).kills(at.seconds()) {
            each(bytes, &levels)?;
        }
    }
    Ok(())
}

/// What covers the token that another was handed down from, by the events of their issuance; `None` where there
/// is none.
fn chain(
    connection: &Connection,
    token: TokenId,
    known: &mut HashMap<TokenId, Option<Levels>>,
) -> Result<Option<Levels>, StoreError> {
    if let Some(levels) = known.get(&token) {
        return Ok(levels.clone());
    }
    let mut levels = None;
    if let Some(event) = events::issuance(connection, token)? {
        let Issued { agent, owner, workload, parent, .. } = parse(&event.bytes)?;
        let above = parent.map(|parent| chain(connection, parent, known)).transpose()?;
        levels = match (workload.issuer().map(|issuer| Holder { agent, owner, issuer }), above) {
            (Some(holder), None) => Some(Levels::of(token, holder)),
            (Some(holder), Some(Some(above))) => {
                let mut levels = above.handed_to(holder);
                levels.tokens.insert(0, token);
                Some(levels)
            }
            _ => None,
        };
    }
    known.insert(token, levels.clone());
    Ok(levels)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(bytes)
        .map_err(|error| StoreError::Damaged(format!("an issuance cannot be read: {error}")))
}

pub(super) fn of_agents(
    connection: &Connection,
    agents: Vec<AgentId>,
    book: &StopBook,
    now: Timestamp,
) -> Result<HashMap<AgentId, Activity>, StoreError> {
    let mut activity: HashMap<AgentId, Activity> =
        agents.into_iter().map(|agent| (agent, Activity::default())).collect();
    last_issued(connection, &mut activity)?;
    live_tokens(connection, book, now, |_, levels| {
        if let Some(activity) = activity.get_mut(&levels.agent) {
            activity.live += 1;
        }
        Ok(())
    })?;
    Ok(activity)
}

/// Finds when each agent was issued its last token. Each block is read once, however many agents it is about.
fn last_issued(connection: &Connection, activity: &mut HashMap<AgentId, Activity>) -> Result<(), StoreError> {
    let full = blocks::full(read_head(connection)?.size);
    let mut wanted: BTreeSet<u64> = BTreeSet::from([full]);
    for agent in activity.keys() {
        let issued = Blocks::With(Term::Agent(agent.clone(), Kind::TokenIssued));
        wanted.extend(issued.newest(connection, full)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT agent, at FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = 'token.issued' ORDER BY seq",
    )?;
    // The oldest first, so that what is later stays.
    for block in wanted {
        let range = [blocks::first_seq(block), blocks::first_seq(block + 1)].map(sql_int);
        let mut rows = statement.query(range)?;
        while let Some(row) = rows.next()? {
            let agent = row.get_ref(0)?.as_str().unwrap_or_default().parse();
            if let Some(activity) = agent.ok().and_then(|agent: AgentId| activity.get_mut(&agent)) {
                activity.last_issued = Some(Timestamp::from_millis(row.get(1)?));
            }
        }
    }
    Ok(())
}

pub(super) fn reach(
    connection: &Connection,
    target: &Target,
    book: &StopBook,
    now: Timestamp,
) -> Result<Reach, StoreError> {
    let mut reach = Reach::default();
    live_tokens(connection, book, now, |bytes, levels| {
        if !levels.targets().contains(target) {
            return Ok(());
        }
        reach.tokens += 1;
        reach.agents.insert(levels.agent.clone());
        let Opens { permissions } = parse(bytes)?;
        for permission in permissions.iter().filter(|p| p.kind == ResourceKind::GitRepository) {
            reach.repositories.extend(permission.locations.iter().map(|at| at.as_str().to_owned()));
        }
        Ok(())
    })?;
    Ok(reach)
}
