//! What a caller presents, and what of it holds: who it is, and which key its token is to be bound to.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::broker::limits::TooMany;
use crate::broker::policy::Policy;
use crate::broker::{Broker, Denied};
use crate::domain::agent::Agent;
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::identity::{ClientCertificate, ProofError, SingleUse, UnverifiedAssertion};
use crate::revocation::RevocationError;
use crate::telemetry::span;

/// When an agent should come back for which no more used proofs are remembered: some of them expire by then.
const FULL_FOR: Duration = Duration::from_secs(10);

/// When a caller should come back whose issuer's keys cannot be had: a fetch takes less time, unless the issuer hangs.
const KEYS_MISSING_FOR: Duration = Duration::from_secs(2);

/// What a caller proves itself with.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A JWT that an issuer or a trust domain signed (RFC 8693 `subject_token`).
    Jwt(&'a str),
    /// The same as a grant of its own (RFC 7523 §2.1), or a JWT that a registered key signed, and the `client_id`
    /// sent with it.
    Bearer { text: &'a str, client_id: Option<&'a str> },
    /// A JWT that a registered key signed (RFC 7523 §2.2), and the `client_id` sent with it.
    Assertion { text: &'a str, client_id: Option<&'a str> },
    /// A JWT-SVID as client authentication, and the `client_id` sent with it: the SPIFFE ID.
    JwtSvid { text: &'a str, client_id: Option<&'a str> },
    /// An X.509-SVID: the certificates of a client whose key the handshake has proven, and the `client_id`
    /// sent with it.
    Certificate { chain: &'a [CertificateDer<'static>], client_id: Option<&'a str> },
}

/// All that a caller proves with one request.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Who it is.
    pub proof: Proof<'a>,
    /// Which key it holds: the DPoP proof (RFC 9449), if there is one. The token is then bound to that key.
    pub dpop: Option<&'a str>,
    /// The token that is handed down, where the caller is to have a part of it (RFC 8693 §2.1).
    pub parent: Option<&'a str>,
    /// The client certificate of the connection, whatever it is worth: its key is proven to be the caller's.
    pub shown: Option<Thumbprint>,
}

/// Who the caller is, and what its proof brings besides.
pub(super) struct Authenticated {
    pub(super) identity: Arc<VerifiedIdentity>,
    /// What makes the proof single; not used up yet.
    pub(super) once: Option<SingleUse>,
    /// The certificate that was the proof: the token is bound to it.
    pub(super) certificate: Option<ClientCertificate>,
}

impl Authenticated {
    fn by(identity: Arc<VerifiedIdentity>) -> Self {
        Self { identity, once: None, certificate: None }
    }
}

/// What a token is to be bound to, and the proof of it, which may be used once.
pub(super) type Bound = (Confirmation, Option<SingleUse>);

impl Broker {
    /// Who the caller is. What makes its proof single is not used up yet.
    pub(super) async fn authenticate(
        &self,
        proof: Proof<'_>,
        policy: &Policy,
    ) -> Result<Authenticated, Denied> {
        match proof {
            Proof::Jwt(token) => Ok(Authenticated::by(policy.authenticator.jwt(token).await?)),
            Proof::Bearer { text, client_id } => match policy.authenticator.jwt(text).await {
                // Whose issuer is an agent's id, which no issuer's address can be.
                Err(error) if error.reason == Reason::IssuerUnknown => match UnverifiedAssertion::parse(text)
                {
                    Ok(assertion) => registered_key(&assertion, client_id, policy),
                    Err(_) => Err(error.into()),
                },
                verified => Ok(Authenticated::by(verified?)),
            },
            Proof::Assertion { text, client_id } => {
                registered_key(&UnverifiedAssertion::parse(text)?, client_id, policy)
            }
            Proof::JwtSvid { text, client_id } => {
                let identity = policy.authenticator.jwt_svid(text).await?;
                is_called(&identity, client_id)?;
                Ok(Authenticated::by(Arc::new(identity)))
            }
            Proof::Certificate { chain, client_id } => {
                let (identity, certificate) = policy.authenticator.certificate(chain).await?;
                is_called(&identity, client_id)?;
                Ok(Authenticated { certificate: Some(certificate), ..Authenticated::by(Arc::new(identity)) })
            }
        }
    }

    /// Takes a request from the agent's rate: before it is bound or decided, before anything is remembered for the
    /// agent, and before its proof is used up.
    pub(super) fn charge(&self, agent: &Agent) -> Result<(), Denied> {
        self.rules.policy().limits.request(agent).map_err(|TooMany(wait)| Denied {
            description: Some(format!("{} asks for more tokens a minute than its limit", agent.id)),
            retry_after: Some(wait),
            ..Reason::RateLimited.into()
        })
    }

    /// What the agent's token is to be bound to, and the proof of it, which is not used up yet. The agent is
    /// known, so it is told what is wrong with its proof. Its demand for a bound token is left to the
    /// caller where the token is handed down, for then the parent's bond counts.
    pub(super) fn bind(
        &self,
        agent: &Agent,
        presented: &Presented<'_>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Option<Bound>, Denied> {
        // Every issuance comes here as soon as its agent is known.
        span::record_agent(&agent.id);
        match (presented.dpop, certificate) {
            (None, None) if agent.sender_constrained && presented.parent.is_none() => {
                Err(Reason::SenderConstraintRequired.into())
            }
            (None, None) => Ok(None),
            (None, Some(certificate)) => Ok(Some((Confirmation::X5t(certificate.thumbprint), None))),
            (Some(proof), None) => match self.dpop.verify(proof, self.now()) {
                Ok((cnf, once)) => Ok(Some((cnf, Some(once)))),
                Err(ProofError { reason, detail, .. }) => {
                    Err(Denied { description: Some(detail.into_owned()), ..reason.into() })
                }
            },
            // A token has one key that its holder must prove; which one was meant is not guessed.
            (Some(_), Some(_)) => {
                let description = "the token is bound to the client certificate; leave the DPoP header out";
                Err(Denied { description: Some(description.into()), ..Reason::DpopProofInvalid.into() })
            }
        }
    }

    /// Refuses a proof that this node knows to be used, before the agent is charged for it: whoever saw one could else use
    /// the agent's rate up.
    pub(super) fn refuse_used(&self, agent: &Agent, once: &SingleUse) -> Result<(), Denied> {
        if self.kill_switch.revocation().was_used(&agent.id, &once.key) {
            return Err(Reason::Replayed.into());
        }
        Ok(())
    }

    /// Records that `agent` used a proof, or refuses as `replayed` one that it used before.
    pub(super) async fn use_up(
        &self,
        agent: &Agent,
        once: SingleUse,
        replayed: Reason,
    ) -> Result<(), Denied> {
        match self.kill_switch.revocation().use_once(&agent.id, once.key, once.until).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(replayed.into()),
            Err(RevocationError::Full) => Err(Denied {
                description: Some(format!("{} has too many proofs in use that have not expired", agent.id)),
                retry_after: Some(FULL_FOR),
                ..Reason::RateLimited.into()
            }),
            Err(error) => {
                tracing::error!(%error, "cannot tell whether a proof was used before");
                let description = "nobody can tell whether this proof was used before: Redis cannot be used";
                Err(Denied {
                    description: Some(description.to_owned()),
                    ..Reason::RevocationUnavailable.into()
                })
            }
        }
    }
}

/// An agent that is not registered and a signature that is not good look the same (law 8).
fn registered_key(
    assertion: &UnverifiedAssertion<'_>,
    client_id: Option<&str>,
    policy: &Policy,
) -> Result<Authenticated, Denied> {
    if client_id.is_some_and(|id| id != assertion.agent().as_str()) {
        return Err(Reason::ParameterInvalid.into());
    }
    let Policy { authenticator, registry, .. } = policy;
    let keys = registry.agent(assertion.agent()).map(|agent| agent.keys()).unwrap_or_default();
    let (identity, once) = authenticator.assertion(assertion, &keys, registry.most_keys())?;
    Ok(Authenticated { once: Some(once), ..Authenticated::by(Arc::new(identity)) })
}

/// `client_id` of an SVID is its SPIFFE ID, where one is sent.
fn is_called(identity: &VerifiedIdentity, client_id: Option<&str>) -> Result<(), Denied> {
    match client_id {
        Some(id) if id != identity.subject => Err(Reason::ParameterInvalid.into()),
        _ => Ok(()),
    }
}

impl From<ProofError> for Denied {
    fn from(error: ProofError) -> Self {
        if let Some(cause) = &error.cause {
            tracing::warn!(reason = error.reason.as_str(), %cause, "proof not verified");
        }
        let retry_after = (error.reason == Reason::IssuerUnavailable).then_some(KEYS_MISSING_FOR);
        let description = error.of_registered.then(|| error.detail.clone().into_owned());
        Self { retry_after, description, detail: Some(error.detail), ..error.reason.into() }
    }
}
