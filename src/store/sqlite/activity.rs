//! What tokens live now: counted from the events of the last hour, the longest that any token lives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde::Deserialize;

use super::blocks::{self, Blocks, Term};
use super::events;
use super::row::sql_int;
use super::tip::read_head;
use crate::domain::event::Kind;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::{AgentId, Owner, TokenId};
use crate::domain::identity::Workload;
use crate::domain::permission::{GrantedPermission, ResourceKind};
use crate::domain::revocation::{Book, Holder, Levels, Revision, Target, Verdict};
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
        connection: &Connection,
        known: &mut HashMap<TokenId, Option<Levels>>,
    ) -> Result<Option<Levels>, StoreError> {
        let Some(issuer) = self.workload.issuer() else { return Ok(None) };
        let holder = Holder { agent: self.agent, owner: self.owner, issuer };
        let asked = match self.parent {
            None => Some(Levels::asked_by(holder)),
            Some(parent) => chain(connection, parent, known)?.map(|above| above.handed_to(holder)),
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
    WHERE seq >= ?1 AND at > ?2 AND expires > ?3 AND kind = 'token.issued'";

/// Calls `each` with the issuance of every token that lives at `now`.
fn live_tokens(
    connection: &Connection,
    books: &[Arc<Book>],
    now: Timestamp,
    mut each: impl FnMut(&str, &Levels) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let since = now - MAX_TOKEN_LIFETIME - Duration::from_secs(1);
    let head = read_head(connection)?;
    let first = blocks::edge(connection, blocks::full(head.size), since - head.span.skew)?;
    let mut statement = connection.prepare_cached(ISSUED)?;
    let mut rows = statement.query([sql_int(blocks::first_seq(first)), since.millis(), now.seconds()])?;
    let known: Vec<&Book> = books.iter().map(|book| &**book).collect();
    let mut parents = HashMap::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_str().unwrap_or_default();
        if let Some(levels) = parse::<IssuedRow>(bytes)?.levels(connection, &mut parents)?
            && !Verdict::of(&levels, &known).is_dead()
        {
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
    let levels = match events::issuance(connection, token)? {
        Some(event) => parse::<IssuedRow>(&event.bytes)?.levels(connection, known)?,
        None => None,
    };
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
    books: &[Arc<Book>],
    now: Timestamp,
) -> Result<HashMap<AgentId, Activity>, StoreError> {
    let mut activity: HashMap<AgentId, Activity> =
        agents.into_iter().map(|agent| (agent, Activity::default())).collect();
    last_issued(connection, &mut activity)?;
    live_tokens(connection, books, now, |_, levels| {
        if let Some(activity) = activity.get_mut(&levels.holder().agent) {
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
    books: &[Arc<Book>],
    now: Timestamp,
) -> Result<Reach, StoreError> {
    let mut reach = Reach::default();
    live_tokens(connection, books, now, |bytes, levels| {
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
