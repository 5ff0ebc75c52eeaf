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

use super::rows::BlockRow;
use super::sql::{Sql, values};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{AgentId, IssuerName, Owner, RequestId, StopId, TokenId};
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::record;

/// Events in a block, which are the leaves under one kept node of the tree.
pub(in crate::store) const SIZE: u64 = 1 << TILE_HEIGHT;

/// An id holds the millisecond in which it was made, and its event is found by that. An event that comes
/// later than this after, or at all before, has the id as a term of its own.
pub(super) const STRAY: Duration = Duration::from_secs(1);

/// The block of an event.
pub(super) fn of_seq(seq: u64) -> u64 {
    seq.saturating_sub(1) / SIZE
}

/// The first `seq` of a block.
pub(super) fn first_seq(block: u64) -> u64 {
    block.saturating_mul(SIZE).saturating_add(1)
}

/// How many blocks of a log of `size` events are full.
pub(in crate::store) fn full(size: u64) -> u64 {
    size / SIZE
}

/// How the terms of holders begin.
pub(super) const HOLDER: &str = "holder ";

/// Something that an event is found by. Its text is what stands in the table, or a hash of it ([`Sql::indexed`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::store) enum Term {
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
pub(in crate::store) struct Entry {
    /// The earliest and the latest `at` in it.
    span: Option<(Timestamp, Timestamp)>,
    terms: HashSet<Term>,
    /// How many events of the block it was made of.
    count: u64,
}

impl Entry {
    pub(super) fn note(&mut self, at: Timestamp, terms: &[Term]) {
        self.count += 1;
        let (earliest, latest) = self.span.unwrap_or((at, at));
        self.span = Some((earliest.min(at), latest.max(at)));
        for term in terms {
            if !self.terms.contains(term) {
                self.terms.insert(term.clone());
            }
        }
    }

    /// Whether all events of a full block are in it.
    pub(super) fn is_whole(&self) -> bool {
        self.count == SIZE
    }

    /// In the order in which the table has them.
    pub(super) fn terms(&self, sql: &dyn Sql) -> Vec<String> {
        let mut terms: Vec<String> = self.terms.iter().map(|term| sql.indexed(term.to_string())).collect();
        terms.sort_unstable();
        terms
    }

    /// What is entered of the block, which is full.
    pub(in crate::store) fn row(&self, sql: &dyn Sql, block: u64) -> BlockRow {
        let none = Timestamp::from_millis(0);
        BlockRow { block, span: self.span.unwrap_or((none, none)), terms: self.terms(sql) }
    }

    /// What would be entered of the events of `block` up to `size`.
    ///
    /// # Errors
    /// `Damaged` where an event cannot be read.
    pub(in crate::store) fn of(sql: &dyn Sql, block: u64, size: u64) -> Result<Self, StoreError> {
        let events = "SELECT seq, bytes FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        let end = first_seq(block + 1).min(size + 1);
        let mut entry = Self::default();
        sql.each(events, values![first_seq(block), end], |row| {
            let seq = row.number(0)?;
            let event = record::parse(seq, row.text_if_any(1))
                .map_err(|problem| StoreError::Damaged(format!("event {seq}: {problem}")))?;
            entry.note(event.at, &terms(&event));
            Ok(())
        })?;
        Ok(entry)
    }

    /// Whether the stored times of `block` are these.
    pub(super) fn has_times_of(&self, sql: &dyn Sql, block: u64) -> Result<bool, StoreError> {
        let times = "SELECT earliest, latest FROM blocks WHERE block = ?1";
        let stored = sql.one(times, values![block], |row| {
            Ok((Timestamp::from_millis(row.int(0)?), Timestamp::from_millis(row.int(1)?)))
        })?;
        Ok(stored == self.span)
    }
}

/// The first full block that is not all before the time `at`, give or take `skew`, the most by which any
/// time in the log is before an earlier one: every event in an earlier block is before `at + skew`, every one
/// in a later block at or after `at - skew`. Found by halving, for times are nearly in order.
pub(super) fn edge(sql: &dyn Sql, full: u64, at: Timestamp) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, full);
    while low < high {
        let middle = low + (high - low) / 2;
        let latest =
            sql.one("SELECT latest FROM blocks WHERE block = ?1", values![middle], |row| row.int(0))?;
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
    pub(super) fn newest(&self, sql: &dyn Sql, block: u64) -> Result<Option<u64>, StoreError> {
        match self {
            Self::With(term) => sql.one(
                "SELECT block FROM terms WHERE term = ?1 AND block <= ?2 ORDER BY block DESC LIMIT 1",
                values![sql.indexed(term.to_string()), block],
                |row| row.number(0),
            ),
            Self::Within { first, last, since, until } => sql.one(
                "SELECT block FROM blocks WHERE block >= ?1 AND block <= ?2
                 AND latest >= ?3 AND earliest < ?4 ORDER BY block DESC LIMIT 1",
                values![*first, (*last).min(block), since.millis(), until.millis()],
                |row| row.number(0),
            ),
        }
    }
}
