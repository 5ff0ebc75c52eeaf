//! What a caller presents, and what of it holds: who it is, and which key its token is to be bound to.

use std::sync::Arc;

use crate::broker::{Broker, Denied};
use crate::domain::agent::Agent;
use crate::domain::confirmation::Confirmation;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::identity::{ProofError, SingleUse, UnverifiedAssertion};
use crate::registry::Registry;

/// What a caller proves itself with.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// An OIDC token (RFC 8693 `subject_token`, RFC 7523 `assertion`).
    Oidc(&'a str),
    /// A JWT that a registered key signed (RFC 7523 §2.2), and the `client_id` sent with it.
    Assertion { text: &'a str, client_id: Option<&'a str> },
}

/// All that a caller proves with one request.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Who it is.
    pub proof: Proof<'a>,
    /// Which key it holds: the DPoP proof (RFC 9449), if there is one. The token is then bound to that key.
    pub dpop: Option<&'a str>,
}

impl Broker {
    /// Who the caller is. What makes its proof single is not used up yet.
    pub(super) async fn authenticate(
        &self,
        proof: Proof<'_>,
        registry: &Registry,
    ) -> Result<(Arc<VerifiedIdentity>, Option<SingleUse>), Denied> {
        match proof {
            Proof::Oidc(token) => Ok((self.authenticator.oidc(token).await?, None)),
            Proof::Assertion { text, client_id } => {
                let (identity, once) = self.registered_key(text, client_id, registry)?;
                Ok((Arc::new(identity), Some(once)))
            }
        }
    }

    /// An agent that is not registered and a signature that is not good look the same (law 8).
    fn registered_key(
        &self,
        text: &str,
        client_id: Option<&str>,
        registry: &Registry,
    ) -> Result<(VerifiedIdentity, SingleUse), Denied> {
        let assertion = UnverifiedAssertion::parse(text)?;
        if client_id.is_some_and(|id| id != assertion.agent().as_str()) {
            return Err(Reason::ParameterInvalid.into());
        }
        let keys = registry.agent(assertion.agent()).map(|agent| agent.keys()).unwrap_or_default();
        Ok(self.authenticator.assertion(&assertion, &keys)?)
    }

    /// What the agent's token is to be bound to, and the proof of it, which is not used up yet. The agent is
    /// known, so it is told what is wrong with its proof.
    pub(super) fn bind(
        &self,
        agent: &Agent,
        dpop: Option<&str>,
    ) -> Result<Option<(Confirmation, SingleUse)>, Denied> {
        let Some(proof) = dpop else {
            return if agent.sender_constrained {
                Err(Reason::SenderConstraintRequired.into())
            } else {
                Ok(None)
            };
        };
        self.dpop.verify(proof, self.now()).map(Some).map_err(|ProofError { reason, detail }| Denied {
            description: Some(detail.into_owned()),
            ..reason.into()
        })
    }

    /// Records that a proof is used, or refuses as `replayed` one that was used before.
    pub(super) async fn use_up(&self, once: SingleUse, replayed: Reason) -> Result<(), Denied> {
        match self.revocation.use_once(once.key, once.until).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(replayed.into()),
            Err(error) => {
                tracing::error!(%error, "cannot tell whether a proof was used before");
                Err(Reason::RevocationUnavailable.into())
            }
        }
    }
}

impl From<ProofError> for Denied {
    fn from(error: ProofError) -> Self {
        tracing::debug!(reason = error.reason.as_str(), detail = %error.detail, "proof refused");
        error.reason.into()
    }
}
