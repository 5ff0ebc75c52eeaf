//! What is settled of a token before it is signed, and how long it may live.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Denied;
use crate::broker::delegate::Parent;
use crate::domain::agent::Agent;
use crate::domain::confirmation::Confirmation;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::domain::request::TokenRequest;
use crate::domain::revocation::Levels;
use crate::domain::time::{NumericDate, Timestamp};
use crate::identity::ClientCertificate;
use crate::token::Claims;

/// What is settled before a token is signed.
pub(super) struct Settled<'a> {
    pub(super) agent: Arc<Agent>,
    pub(super) identity: Arc<VerifiedIdentity>,
    pub(super) request: TokenRequest,
    /// The token that this one is handed down from.
    pub(super) parent: Option<Parent>,
    /// The client certificate that was the proof.
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) cnf: Option<Confirmation>,
    /// What covers the token.
    pub(super) levels: Arc<Levels>,
    pub(super) registry: &'a Arc<str>,
}

impl Settled<'_> {
    /// `ttl`, within the life of what the token must not outlive.
    pub(super) fn ttl(&self, ttl: Duration, now: Timestamp) -> Result<Duration, Denied> {
        let ttl = match &self.certificate {
            Some(certificate) => within(ttl, certificate, now)?,
            None => ttl,
        };
        match &self.parent {
            Some(parent) => Ok(until(ttl, parent.claims.exp, now).ok_or(Reason::ParentInvalid)?),
            None => Ok(ttl),
        }
    }
}

/// What covers the token that is asked for.
pub(super) fn levels(agent: &Agent, identity: &VerifiedIdentity, parent: Option<&Parent>) -> Levels {
    let holder = agent.holder(identity.issuer.clone());
    match parent {
        Some(parent) => parent.claims.levels().handed_to(holder),
        None => Levels::asked_by(holder),
    }
}

/// Through whose hands a token came, for people: «payments-refactorer → test-runner».
pub(super) fn chain(claims: &Claims) -> String {
    let above = claims.parents.iter().rev().map(|parent| parent.client_id.as_str());
    let hands: Vec<&str> = above.chain([claims.client_id.as_str()]).collect();
    format!("delegated: {}", hands.join(" → "))
}

/// `ttl`, but not beyond the second `end`; `None` where that is past.
fn until(ttl: Duration, end: NumericDate, now: Timestamp) -> Option<Duration> {
    let left = end.since(now.into());
    (!left.is_zero()).then(|| ttl.min(left))
}

/// A token never outlives the certificate that it is bound to.
fn within(ttl: Duration, certificate: &ClientCertificate, now: Timestamp) -> Result<Duration, Denied> {
    until(ttl, certificate.expires.into(), now).ok_or_else(|| Denied {
        description: Some(
            "the client certificate has expired: get a new one from the SPIFFE Workload API".into(),
        ),
        ..Reason::Expired.into()
    })
}
