//! The columns of an event beside its bytes.

use crate::domain::event::Event;
use crate::domain::id::{AgentId, IssuerName, Owner};
use crate::domain::time::{NumericDate, Timestamp};

/// What tells the events of a block apart in a search. `audit verify` compares each with what the bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Columns {
    pub(in crate::store) at: Timestamp,
    pub(in crate::store) kind: &'static str,
    pub(in crate::store) outcome: &'static str,
    pub(in crate::store) agent: Option<AgentId>,
    pub(in crate::store) owner: Option<Owner>,
    /// The issuer of the workload identity.
    pub(in crate::store) issuer: Option<IssuerName>,
    pub(in crate::store) token: Option<String>,
    pub(in crate::store) request: Option<String>,
    pub(in crate::store) expires: Option<NumericDate>,
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
