//! An event as the writer takes it: everything is made by the caller's task but the `seq`.

use super::blocks::{self, Term};
use crate::domain::event::Event;
use crate::domain::id::{AgentId, IssuerName, Owner};
use crate::domain::time::{NumericDate, Timestamp};
use crate::store::record;

/// An event without its `seq`.
#[derive(Debug)]
pub(super) struct Draft {
    /// The event's JSON after `{`.
    tail: String,
    pub(super) columns: Columns,
    pub(super) terms: Vec<Term>,
}

/// What tells the events of a block apart in a search. `audit verify` compares each with what the bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) at: Timestamp,
    pub(super) kind: &'static str,
    pub(super) outcome: &'static str,
    pub(super) agent: Option<AgentId>,
    pub(super) owner: Option<Owner>,
    /// The issuer of the workload identity.
    pub(super) issuer: Option<IssuerName>,
    pub(super) token: Option<String>,
    pub(super) request: Option<String>,
    pub(super) expires: Option<NumericDate>,
}

impl Columns {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            at: event.at,
            kind: event.kind.as_str(),
            outcome: event.outcome.as_str(),
            agent: event.agent.clone(),
            owner: event.owner.clone(),
            issuer: event.workload.as_ref().and_then(|workload| workload.issuer()),
            token: event.token.map(|token| token.to_string()),
            request: event.request.map(|request| request.to_string()),
            expires: event.expires(),
        }
    }
}

impl Draft {
    pub(super) fn of(event: &Event) -> Self {
        Self { tail: record::tail(event), columns: Columns::of(event), terms: blocks::terms(event) }
    }

    /// The bytes that are stored and hashed.
    pub(super) fn bytes(&self, seq: u64) -> String {
        record::bytes(seq, &self.tail)
    }
}
