//! How events are found: the log in blocks of 256, and what each block holds.
//!
//! An index entry for each event and filter would cost more than the event itself, on the path of every
//! token. So a block is entered whole, in the transaction of its last event: the earliest and the latest
//! time in it, and each term (an agent with a kind, an owner with a kind, a kind, an outcome, a resource, what a stop
//! hits, a parent, a holder) that some event of it has. A search goes through the blocks that hold all of its terms, the newest
//! first, and reads the events in them. The open block at the end has no entry and is always read.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::row::sql_int;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{AgentId, IssuerName, Owner, RequestId, StopId, TokenId};
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::record;

/// Events in a block, which are the leaves under one kept node of the tree.
pub(super) const SIZE: u64 = 1 << TILE_HEIGHT;

/// An id holds the millisecond in which it was made, and its event is found by that. An event that comes
/// later than this after, or at all before, has the id as a term of its own.
pub(super) const STRAY: Duration = Duration::from_secs(1);

pub(super) const TABLES: &str = "
CREATE TABLE blocks(
    block INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL
) STRICT;
CREATE TABLE terms(
    term TEXT NOT NULL, block INTEGER NOT NULL, PRIMARY KEY(term, block)
) STRICT, WITHOUT ROWID;
";

/// The block of an event.
pub(super) fn of_seq(seq: u64) -> u64 {
    seq.saturating_sub(1) / SIZE
}

/// The first `seq` of a block.
pub(super) fn first_seq(block: u64) -> u64 {
    block.saturating_mul(SIZE).saturating_add(1)
}

/// How many blocks of a log of `size` events are full.
pub(super) fn full(size: u64) -> u64 {
    size / SIZE
}

/// How the terms of holders begin.
pub(super) const HOLDER: &str = "holder ";

/// Something that an event is found by. Its text is what stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Term {
    Kind(Kind),
    Outcome(Outcome),
    Agent(AgentId, Kind),
    Owner(Owner, Kind),
    /// A permission's name or URL.
    Resource(Arc<str>),
    Token(TokenId),
    Request(RequestId),
    /// What a change of the kill switch hits.
    Target(Target),
    /// A stop of what was stopped already.
    Again(StopId),
    /// The token that one was handed down from.
    Parent(TokenId),
    /// An agent that was issued a token, for its owner, by a proof of the issuer.
    Holder(AgentId, Owner, IssuerName),
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "kind {}", kind.as_str()),
            Self::Outcome(outcome) => write!(f, "outcome {}", outcome.as_str()),
            Self::Agent(agent, kind) => write!(f, "agent {agent} {}", kind.as_str()),
            Self::Owner(owner, kind) => write!(f, "owner {owner} {}", kind.as_str()),
            Self::Resource(resource) => write!(f, "resource {resource}"),
            Self::Token(token) => write!(f, "token {token}"),
            Self::Request(request) => write!(f, "request {request}"),
            Self::Target(target) => write!(f, "target {target}"),
            Self::Again(stop) => write!(f, "again {stop}"),
            Self::Parent(parent) => write!(f, "parent {parent}"),
            Self::Holder(agent, owner, issuer) => write!(f, "{HOLDER}{agent} {owner} {issuer}"),
        }
    }
}

/// Everything that an event is found by, but its time.
pub(super) fn terms(event: &Event) -> Vec<Term> {
    let kind = event.kind;
    let stray = |made: Timestamp| event.at < made || event.at > made + STRAY;
    let resources = event.permissions.resources();
    let mut terms = Vec::with_capacity(6 + resources.len());
    terms.push(Term::Kind(kind));
    terms.push(Term::Outcome(event.outcome));
    terms.extend(event.agent.clone().map(|agent| Term::Agent(agent, kind)));
    terms.extend(event.owner.clone().map(|owner| Term::Owner(owner, kind)));
    terms.extend(resources.iter().cloned().map(Term::Resource));
    terms.extend(event.token.filter(|id| stray(id.made())).map(Term::Token));
    terms.extend(event.request.filter(|id| stray(id.made())).map(Term::Request));
    if matches!(kind, Kind::RevocationStopped | Kind::RevocationLifted) {
        terms.extend(event.target.clone().map(Term::Target));
    }
    terms.extend(event.again.map(Term::Again));
    terms.extend(event.parent.map(Term::Parent));
    if let (Kind::TokenIssued, Some(agent), Some(owner), Some(workload)) =
        (kind, &event.agent, &event.owner, &event.workload)
    {
        terms.extend(workload.issuer().map(|issuer| Term::Holder(agent.clone(), owner.clone(), issuer)));
    }
    terms
}

/// What is entered of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The earliest and the latest `at` in it.
    span: Option<(Timestamp, Timestamp)>,
    terms: HashSet<Term>,
}

impl Entry {
    pub(super) fn note(&mut self, at: Timestamp, terms: &[Term]) {
        let (earliest, latest) = self.span.unwrap_or((at, at));
        self.span = Some((earliest.min(at), latest.max(at)));
        for term in terms {
            if !self.terms.contains(term) {
                self.terms.insert(term.clone());
            }
        }
    }

    pub(super) fn has(&self, term: &Term) -> bool {
        self.terms.contains(term)
    }

    /// In the order in which the table has them.
    pub(super) fn terms(&self) -> Vec<String> {
        let mut terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        terms.sort_unstable();
        terms
    }

    /// Enters the block, which is full. In order, for whoever is first in a page of the index is next to
    /// whoever is second.
    pub(super) fn write(&self, connection: &Connection, block: u64) -> rusqlite::Result<()> {
        let (earliest, latest) = self.span.map_or((0, 0), |(first, last)| (first.millis(), last.millis()));
        let sql = "INSERT INTO blocks(block, earliest, latest) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![sql_int(block), earliest, latest])?;
        let mut insert = connection.prepare_cached("INSERT INTO terms(term, block) VALUES (?1, ?2)")?;
        for term in self.terms() {
            insert.execute(params![term, sql_int(block)])?;
        }
        Ok(())
    }

    /// What would be entered of the events of `block` up to `size`.
    ///
    /// # Errors
    /// `Damaged` where an event cannot be read.
    pub(super) fn of(connection: &Connection, block: u64, size: u64) -> Result<Self, StoreError> {
        let sql = "SELECT seq, bytes FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        let mut statement = connection.prepare_cached(sql)?;
        let end = first_seq(block + 1).min(size + 1);
        let mut rows = statement.query(params![sql_int(first_seq(block)), sql_int(end)])?;
        let mut entry = Self::default();
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.unsigned_abs();
            let event = record::parse(seq, row.get_ref(1)?.as_str().unwrap_or_default())
                .map_err(|problem| StoreError::Damaged(format!("event {seq}: {problem}")))?;
            entry.note(event.at, &terms(&event));
        }
        Ok(entry)
    }

    /// Whether the stored times of `block` are these.
    pub(super) fn has_times_of(&self, connection: &Connection, block: u64) -> rusqlite::Result<bool> {
        let sql = "SELECT earliest, latest FROM blocks WHERE block = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let stored = statement.query_row([sql_int(block)], |row| {
            Ok((Timestamp::from_millis(row.get(0)?), Timestamp::from_millis(row.get(1)?)))
        });
        Ok(stored.optional()? == self.span)
    }
}

/// The first full block that is not all before the time `at`, give or take `skew`, the most by which any
/// time in the log is before an earlier one: every event in an earlier block is before `at + skew`, every one
/// in a later block at or after `at - skew`. Found by halving, for times are nearly in order.
pub(super) fn edge(connection: &Connection, full: u64, at: Timestamp) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT latest FROM blocks WHERE block = ?1")?;
    let (mut low, mut high) = (0, full);
    while low < high {
        let middle = low + (high - low) / 2;
        let latest: Option<i64> = statement.query_row([sql_int(middle)], |row| row.get(0)).optional()?;
        if latest.is_some_and(|latest| latest < at.millis()) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// A set of full blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Those that hold this term.
    With(Term),
    /// Those between these two, both included, that hold a time at or after the first and before the second.
    Within { first: u64, last: u64, since: Timestamp, until: Timestamp },
}

impl Blocks {
    /// The newest of them that is not after `block`.
    pub(super) fn newest(&self, connection: &Connection, block: u64) -> rusqlite::Result<Option<u64>> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let found = match self {
            Self::With(term) => {
                let sql =
                    "SELECT block FROM terms WHERE term = ?1 AND block <= ?2 ORDER BY block DESC LIMIT 1";
                connection
                    .prepare_cached(sql)?
                    .query_row(params![term.to_string(), sql_int(block)], read)
                    .optional()?
            }
            Self::Within { first, last, since, until } => {
                let sql = "SELECT block FROM blocks WHERE block >= ?1 AND block <= ?2
                     AND latest >= ?3 AND earliest < ?4 ORDER BY block DESC LIMIT 1";
                let last = (*last).min(block);
                let bounds = params![sql_int(*first), sql_int(last), since.millis(), until.millis()];
                connection.prepare_cached(sql)?.query_row(bounds, read).optional()?
            }
        };
        Ok(found.map(i64::unsigned_abs))
    }
}
