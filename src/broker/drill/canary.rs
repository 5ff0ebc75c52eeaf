//! The canary: an agent that may do nothing, and its tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use crate::broker::settled::{Settled, levels};
use crate::broker::{Broker, Call, Denied};
use crate::domain::agent::Agent;
use crate::domain::grant::{Grant, Permissions};
use crate::domain::id::{AgentId, IssuerName, Owner};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::domain::request::TokenRequest;
use crate::domain::revocation::Target;
use crate::token::AccessToken;

/// A token of the canary lives no longer than a drill.
const TTL: Duration = Duration::from_secs(60);

/// Why the canary has no token.
#[derive(Debug)]
pub(super) enum NoToken {
    Stopped(Target),
    Denied(Denied),
}

impl From<Denied> for NoToken {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(target) => write!(f, "{target} is stopped"),
            Self::Denied(denied) => f.write_str(denied.reason.as_str()),
        }
    }
}

/// What a drill stops.
pub(super) fn target() -> Target {
    Target::Agent(AgentId::canary())
}

fn canary() -> Agent {
    Agent {
        id: AgentId::canary(),
        purpose: "drills of the kill switch".to_owned(),
        owner: Owner::canary(),
        max_ttl: None,
        tokens_per_minute: None,
        sender_constrained: false,
        may_delegate_to: BTreeSet::new(),
        identities: Vec::new(),
        permissions: Vec::new(),
    }
}

impl Broker {
    /// A token without permissions and without an audience, journaled and released as any other. No verifier takes it for
    /// its own; it never leaves this process.
    pub(super) async fn canary_token(&self, call: &Call) -> Result<AccessToken, NoToken> {
        let issuing = self.issue_to_canary(call);
        let late = Denied::from(Reason::JournalUnavailable);
        tokio::time::timeout(PATIENCE, issuing).await.unwrap_or_else(|_| Err(late.into()))
    }

    async fn issue_to_canary(&self, call: &Call) -> Result<AccessToken, NoToken> {
        let agent = Arc::new(canary());
        let issuer = IssuerName::canary();
        let subject = BTreeMap::from([("sub".to_owned(), self.name.to_string())]);
        let identity = Arc::new(VerifiedIdentity::supposed(issuer, subject, self.now()));
        let levels = Arc::new(levels(&agent, &identity, None));
        let verdict = self.kill_switch.verdict(&levels).await?;
        if let Some(target) = verdict.stopped {
            return Err(NoToken::Stopped(target));
        }
        let registry = self.registry_revision();
        let settled = Settled {
            agent,
            identity,
            request: TokenRequest::default(),
            parent: None,
            certificate: None,
            cnf: None,
            levels,
            registry: &registry,
        };
        let grant = Grant { permissions: Permissions::default(), ttl: TTL };
        Ok(self.release(call, &settled, grant, verdict).await?.token)
    }
}
