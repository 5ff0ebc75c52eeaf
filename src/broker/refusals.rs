//! What the audit log tells of refusals: of those that ask for tokens, and of operators.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::noise::{Counted, Noise};
use crate::broker::{Broker, Call};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::OperatorName;
use crate::domain::revocation::Target;

/// Why an operator was refused. Never the key that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorRefusal {
    /// Nobody has this key.
    UnknownKey,
    /// A known operator asked for what its roles do not allow.
    MissingRole,
    /// A known operator named a target or a stop that there is not.
    UnknownTarget,
}

impl OperatorRefusal {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "credential_invalid",
            Self::MissingRole => "role_missing",
            Self::UnknownTarget => "target_unknown",
        }
    }
}

/// One refused call of an operator, or of somebody who would be one.
pub struct RefusedOperator {
    pub why: OperatorRefusal,
    /// Who it is, where the key is known.
    pub operator: Option<OperatorName>,
    pub target: Option<Target>,
    /// What was asked, in words of hallpass.
    pub detail: String,
}

impl Broker {
    /// Journals the refusal of an operator, within a rate for each source, one for each operator, and one for all who have no key.
    pub async fn refuse_operator(&self, call: &Call, refused: RefusedOperator) {
        let limits = Arc::clone(&self.rules.policy().limits);
        let Ok(untold) = limits.operator_refusal(call.peer) else { return };
        let now = Instant::now();
        let may_tell = match &refused.operator {
            Some(known) => limits.known_operators.may_tell(known, call.peer, untold, now),
            None => limits.strange_operators.may_tell(call.peer, untold, now),
        };
        if !may_tell {
            return;
        }
        let more = match untold {
            0 => String::new(),
            untold => format!("; {untold} more refusals of this source before this one"),
        };
        let event = Event {
            reason: Some(refused.why.as_str().to_owned()),
            operator: refused.operator,
            target: refused.target,
            detail: Some(refused.detail + &more),
            ..self.event(Kind::OperatorRefused, Outcome::Refused, Some(call))
        };
        if let Err(error) = self.store.append(event).await {
            tracing::error!(%error, request = %call.request, "refusal of an operator not journaled");
        }
    }

    /// Journals how many refusals had no event of their own: once a minute, or all that is left.
    pub(super) async fn count_refusals(&self, all: bool) {
        let limits = Arc::clone(&self.rules.policy().limits);
        for (noise, whose) in [
            (&limits.strangers, "strangers"),
            (&limits.strange_operators, "operators whose key is not known"),
            (&limits.known_agents.rest, "agents that had many before"),
            (&limits.known_operators.rest, "operators that had many before"),
        ] {
            if let Some(counted) = next(noise, all) {
                self.tell_count(counted, whose).await;
            }
        }
    }

    async fn tell_count(&self, Counted { count, sources }: Counted, whose: &str) {
        let detail =
            format!("{count} more refusals of {whose}, from {sources} addresses, have no event of their own");
        tracing::warn!(count, sources, "refusals of {whose} beyond limits.refusal_events_per_minute");
        let event =
            Event { detail: Some(detail), ..self.event(Kind::RefusalsCounted, Outcome::Refused, None) };
        if let Err(error) = self.store.append(event).await {
            tracing::error!(%error, count, "the number of refusals is not journaled");
        }
    }
}

fn next(noise: &Noise, all: bool) -> Option<Counted> {
    if all { noise.rest() } else { noise.due(Instant::now()) }
}
