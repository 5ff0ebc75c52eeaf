//! Delegation: the parent's token that a sub-agent's is handed down from (RFC 8693 §1.1).

use std::sync::Arc;

use crate::broker::policy::Policy;
use crate::broker::{Broker, Denied};
use crate::domain::agent::Agent;
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::delegation::{Inheritance, may_delegate, still_granted};
use crate::domain::grant::Permissions;
use crate::domain::id::AgentId;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::token::Claims;

/// The parent's token, good but for what the kill switch says.
pub(super) struct Parent {
    pub(super) claims: Arc<Claims>,
    permissions: Permissions,
}

impl Parent {
    /// What is left of the token at `now`.
    pub(super) fn inheritance(&self, now: Timestamp) -> Result<Inheritance, Denied> {
        let lifetime = self.claims.exp.since(now.into());
        if lifetime.is_zero() {
            return Err(Reason::ParentInvalid.into());
        }
        Ok(Inheritance { permissions: self.permissions.clone(), lifetime })
    }
}

impl Broker {
    /// Reads the parent's token for `child`, which is known, so that it may be told what is wrong. The token
    /// must be one of ours, and its agent still registered, still allowed to delegate to this one, and still
    /// registered for what it holds.
    pub(super) async fn parent(&self, token: &str, child: &Agent, policy: &Policy) -> Result<Parent, Denied> {
        let claims = self.keys.verify(token, &self.issuer, self.now()).await;
        let claims = claims.map_err(|_| Reason::ParentInvalid)?;
        let agent = policy.registry.agent(&claims.client_id).ok_or(Reason::ParentInvalid)?;
        let above = claims.parents.iter().map(|parent| &parent.client_id);
        let chain: Vec<&AgentId> = std::iter::once(&claims.client_id).chain(above).collect();
        may_delegate(agent, &chain, &child.id, policy.decisions.guardrails())?;
        let permissions = still_granted(agent, &claims.authorization_details, policy.decisions.guardrails());
        Ok(Parent { claims, permissions })
    }

    /// Asks the kill switch about the parent's token itself, so that the child is told that it is that one which is dead.
    pub(super) async fn still_lives(&self, parent: &Parent) -> Result<(), Denied> {
        self.notice_lost_history(&parent.claims).await;
        if self.kill_switch.verdict(&parent.claims.levels()).await?.is_dead() {
            return Err(Reason::ParentInvalid.into());
        }
        Ok(())
    }

    /// What the handed-down token is bound to: to what its parent's is, or where that is not bound, to what
    /// the caller proved. A bound token is worth nothing to who cannot prove its key, here as anywhere.
    pub(super) fn inherit_bond(
        &self,
        parent: &Claims,
        bound: Option<Confirmation>,
        shown: Option<Thumbprint>,
    ) -> Result<Option<Confirmation>, Denied> {
        let proven = match parent.cnf {
            None => return Ok(bound),
            Some(Confirmation::X5t(thumbprint)) => shown == Some(thumbprint),
            jkt @ Some(Confirmation::Jkt(_)) => bound == jkt,
        };
        // One who proved another key besides asks for a token that two keys would be needed for.
        if proven && bound.is_none_or(|own| Some(own) == parent.cnf) {
            Ok(parent.cnf)
        } else {
            Err(Reason::ParentBound.into())
        }
    }
}
