//! What tokens live now: counted from the events of the last hour, the longest that any token lives.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Row};

use super::draft;
use super::error::StoreError;
use crate::domain::event::Event;
use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::id::AgentId;
use crate::domain::permission::ResourceKind;
use crate::domain::revocation::{Levels, StopBook, Target};
use crate::domain::time::Timestamp;

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

const ISSUED: &str = "SELECT seq, bytes FROM events INDEXED BY events_at
    WHERE at > ?1 AND expires > ?2 AND kind = 'token.issued'";

/// Calls `each` with the issuance of every token that lives at `now`.
fn live_tokens(
    connection: &Connection,
    book: &StopBook,
    now: Timestamp,
    mut each: impl FnMut(Event, &Levels),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(ISSUED)?;
    let mut rows = statement.query([(now - MAX_TOKEN_LIFETIME).millis() - 1000, now.seconds()])?;
    while let Some(row) = rows.next()? {
        let event = event_of(row)?;
        if let Some(levels) = levels_of(&event)
            && !book.verdict(&levels).kills(event.at.seconds())
        {
            each(event, &levels);
        }
    }
    Ok(())
}

fn event_of(row: &Row<'_>) -> Result<Event, StoreError> {
    let seq: i64 = row.get(0)?;
    let bytes = row.get_ref(1)?.as_str().unwrap_or_default();
    draft::parse(seq.unsigned_abs(), bytes)
        .map_err(|problem| StoreError::Damaged(format!("event {seq}: {problem}")))
}

/// What covers an issued token; `None` where its event does not say, as no issuance does.
fn levels_of(event: &Event) -> Option<Levels> {
    Some(Levels {
        tokens: event.token.into_iter().chain(event.parent).collect(),
        agent: event.agent.clone()?,
        owner: event.owner.clone()?,
        issuer: event.workload.as_ref()?.issuer()?,
    })
}

pub(super) fn of_agents(
    connection: &Connection,
    agents: Vec<AgentId>,
    book: &StopBook,
    now: Timestamp,
) -> Result<HashMap<AgentId, Activity>, StoreError> {
    let mut activity = HashMap::with_capacity(agents.len());
    let mut last = connection.prepare_cached(
        "SELECT at FROM events INDEXED BY events_agent WHERE agent = ?1 AND kind = 'token.issued'
         ORDER BY seq DESC LIMIT 1",
    )?;
    for agent in agents {
        let at: Option<i64> = last.query_row([agent.as_str()], |row| row.get(0)).optional()?;
        activity.insert(agent, Activity { last_issued: at.map(Timestamp::from_millis), live: 0 });
    }
    live_tokens(connection, book, now, |_, levels| {
        if let Some(activity) = activity.get_mut(&levels.agent) {
            activity.live += 1;
        }
    })?;
    Ok(activity)
}

pub(super) fn reach(
    connection: &Connection,
    target: &Target,
    book: &StopBook,
    now: Timestamp,
) -> Result<Reach, StoreError> {
    let mut reach = Reach::default();
    live_tokens(connection, book, now, |event, levels| {
        if levels.targets().contains(target) {
            reach.tokens += 1;
            reach.agents.insert(levels.agent.clone());
            let repositories = event.permissions.iter().filter(|p| p.kind == ResourceKind::GitRepository);
            let locations = repositories.flat_map(|p| &p.locations).map(|at| at.as_str().to_owned());
            reach.repositories.extend(locations);
        }
    })?;
    Ok(reach)
}
