//! The one way a token is born: authenticate, find the agent, decide, sign, journal, release.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::delegate::Parent;
use crate::broker::limits::TooMany;
use crate::broker::policy::Policy;
use crate::broker::presented::{Authenticated, Bound};
use crate::broker::settled::{Settled, chain, levels};
use crate::broker::{Broker, Call, Denied, Presented};
use crate::domain::agent::Agent;
use crate::domain::confirmation::{Confirmation, token_type};
use crate::domain::delegation::inherit;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::grant::Grant;
use crate::domain::id::TokenId;
use crate::domain::identity::VerifiedIdentity;
use crate::domain::reason::Reason;
use crate::domain::request::TokenRequest;
use crate::domain::revocation::{Levels, Revision, Verdict};
use crate::domain::time::Timestamp;
use crate::registry::{Found, Registry};
use crate::store::{Issuance, StoreError};
use crate::token::{AccessToken, Claims, KeyError, UnreleasedToken};

/// A released token. Its event is on disk.
pub struct Issued {
    pub token: AccessToken,
    pub token_type: &'static str,
    pub grant: Grant,
}

/// How often a token is decided anew because the kill switch changed while its event was written.
const ATTEMPTS: usize = 8;

/// Who asks, as far as it is known: what a refusal's event says.
#[derive(Default)]
struct Caller {
    identity: Option<Arc<VerifiedIdentity>>,
    agent: Option<Arc<Agent>>,
}

impl Broker {
    /// Issues a token for what is `presented`, or says why not. Either way there is an event: for a token before it
    /// is released, for a refusal within the rate of its source.
    pub async fn issue(
        &self,
        call: &Call,
        presented: Presented<'_>,
        request: Result<TokenRequest, Denied>,
    ) -> Result<Issued, Denied> {
        let policy = Arc::clone(&self.rules.policy());
        let mut caller = Caller::default();
        let issued = self.attempt(call, presented, request, &policy, &mut caller).await;
        match issued {
            Ok(issued) => {
                self.metrics.issued();
                Ok(issued)
            }
            Err(denied) => Err(self.refuse(call, denied, &policy.registry, caller).await),
        }
    }

    /// Counts and journals a request that was refused before any proof could be read from it.
    pub async fn malformed(&self, call: &Call, denied: Denied) -> Denied {
        self.refuse(call, denied, &self.registry(), Caller::default()).await
    }

    async fn attempt(
        &self,
        call: &Call,
        presented: Presented<'_>,
        request: Result<TokenRequest, Denied>,
        policy: &Policy,
        caller: &mut Caller,
    ) -> Result<Issued, Denied> {
        let registry = &policy.registry;
        let Authenticated { identity, once, certificate } =
            self.authenticate(presented.proof, policy).await?;
        tracing::debug!(workload = %identity.workload().0, "the proof is good");
        caller.identity = Some(Arc::clone(&identity));
        let agent = self.find(&identity, registry, call)?;
        tracing::debug!(agent = %agent.id, registry = %registry.revision(), "the proof is this agent's");
        caller.agent = Some(Arc::clone(&agent));
        if let Some(once) = &once {
            self.refuse_used(&agent, once)?;
        }
        self.charge(&agent)?;
        let bound = self.bind(&agent, &presented, certificate.as_ref())?;
        // After that, so that a client which is told to add a nonce can send the same assertion again.
        if let Some(once) = once {
            self.use_up(&agent, once, Reason::Replayed).await?;
        }
        let request = request?;
        let parent = match presented.parent {
            Some(token) => Some(self.parent(token, &agent, policy).await?),
            None => None,
        };
        if let Some(parent) = &parent {
            self.still_lives(parent).await?;
        }
        let cnf = self.confirm(&agent, &presented, parent.as_ref(), bound.as_ref())?;
        let levels = Arc::new(levels(&agent, &identity, parent.as_ref()));
        let verdict = self.kill_switch.verdict(&levels).await?;
        tracing::debug!(as_of = %verdict.as_of, stopped = verdict.stopped.as_ref().map(tracing::field::display), "the kill switch answered");
        let grant = policy.decisions.decide(&agent, &request, verdict.stopped.as_ref()).granted()?;
        let grant = match &parent {
            Some(parent) => inherit(grant, &request, &parent.inheritance(self.now())?)?,
            None => grant,
        };
        tracing::debug!(scope = %grant.permissions.scope(), ttl = grant.ttl.as_secs(), "all that was asked for is granted");
        // Last, so that a proof is not lost to a refusal that has nothing to do with it.
        if let Some((_, Some(proof))) = bound {
            self.use_up(&agent, proof, Reason::DpopReplayed).await?;
        }
        let registry = registry.revision();
        let settled = Settled { agent, identity, request, parent, certificate, cnf, levels, registry };
        self.release(call, &settled, grant, verdict).await
    }

    /// Signs and journals, again where the kill switch changes in between, until the event is on disk.
    pub(super) async fn release(
        &self,
        call: &Call,
        settled: &Settled<'_>,
        mut grant: Grant,
        mut verdict: Verdict,
    ) -> Result<Issued, Denied> {
        for _ in 0..ATTEMPTS {
            let now = self.now();
            grant.ttl = settled.ttl(grant.ttl, now)?;
            let (token, event) = self.sign(call, settled, &grant, verdict.as_of, now)?;
            let levels = Levels::clone(&settled.levels).decided(token.id(), verdict.as_of);
            let issuance = self.journal(event, levels.clone().into()).await?;
            // A stop since the verdict that is not in this store, as of another node: its answer may be out.
            let known = self.kill_switch.known(&levels);
            if let (Issuance::Recorded(receipt), false) = (&issuance, known.is_dead())
                && let Some(token) = token.release(receipt)
            {
                tracing::debug!("the token's event is on disk, and the token is released");
                return Ok(Issued { token, token_type: token_type(settled.cnf), grant });
            }
            // What was signed is dropped here.
            tracing::debug!("a stop came between, so it is decided anew");
            verdict = self.decide_anew(settled).await?;
        }
        tracing::error!(request = %call.request, "the kill switch changes without a pause");
        Err(Reason::RevocationUnavailable.into())
    }

    /// Asks again whether the token may be issued, after a change of the kill switch.
    async fn decide_anew(&self, settled: &Settled<'_>) -> Result<Verdict, Denied> {
        if let Some(parent) = &settled.parent {
            self.still_lives(parent).await?;
        }
        let verdict = self.kill_switch.verdict(&settled.levels).await?;
        let policy = Arc::clone(&self.rules.policy());
        policy.decisions.decide(&settled.agent, &settled.request, verdict.stopped.as_ref()).granted()?;
        Ok(verdict)
    }

    /// What the token will be bound to, if the agent may have one that is bound to this or to nothing.
    fn confirm(
        &self,
        agent: &Agent,
        presented: &Presented<'_>,
        parent: Option<&Parent>,
        bound: Option<&Bound>,
    ) -> Result<Option<Confirmation>, Denied> {
        let own = bound.map(|(cnf, _)| *cnf);
        let cnf = match parent {
            Some(parent) => self.inherit_bond(&parent.claims, own, presented.shown)?,
            None => own,
        };
        if agent.sender_constrained && cnf.is_none() {
            return Err(Reason::SenderConstraintRequired.into());
        }
        Ok(cnf)
    }

    fn find(
        &self,
        identity: &VerifiedIdentity,
        registry: &Registry,
        call: &Call,
    ) -> Result<Arc<Agent>, Denied> {
        match registry.find(identity) {
            Found::One(agent) => Ok(Arc::clone(agent)),
            Found::None => Err(Reason::NoAgent.into()),
            Found::Several(agents) => {
                tracing::error!(request = %call.request, ?agents, "registry fault: one identity, several agents");
                Err(Reason::NoAgent.into())
            }
        }
    }

    fn sign(
        &self,
        call: &Call,
        settled: &Settled<'_>,
        grant: &Grant,
        as_of: Revision,
        now: Timestamp,
    ) -> Result<(UnreleasedToken, Event), Denied> {
        let Settled { agent, identity, registry, cnf, .. } = settled;
        let (cnf, parent) = (*cnf, settled.parent.as_ref().map(|parent| &parent.claims));
        let random = self.random.for_id().map_err(|_| Reason::Internal)?;
        let id = TokenId::new(now, &random);
        let claims =
            Claims { cnf, as_of, ..Claims::new(&self.issuer, agent, identity, grant, registry, id, now) };
        let claims = match parent {
            Some(parent) => claims.handed_down(parent),
            None => claims,
        };
        let token = self.keys.ring().sign(&claims, now).map_err(|error| match error {
            KeyError::TokenTooLarge => {
                Denied { description: Some(error.to_string()), ..Reason::DetailsInvalid.into() }
            }
            error => {
                tracing::error!(%error, "cannot sign");
                Reason::Internal.into()
            }
        })?;
        let detail = parent.map(|_| chain(&claims));
        let event = Event {
            agent: Some(claims.client_id),
            owner: Some(claims.owner),
            workload: Some(claims.workload),
            token: Some(id),
            token_sha256: Some(token.sha256()),
            cnf,
            parent: parent.map(|parent| parent.jti),
            detail,
            permissions: claims.authorization_details,
            ttl: Some(grant.ttl.into()),
            as_of: Some(as_of),
            registry: Some(claims.registry),
            request: Some(call.request),
            peer: Some(call.peer),
            ..Event::new(now, Kind::TokenIssued, Outcome::Issued)
        };
        Ok((token, event))
    }

    async fn journal(&self, event: Event, levels: Arc<Levels>) -> Result<Issuance, Denied> {
        let unavailable =
            || Denied { retry_after: Some(Duration::from_secs(1)), ..Reason::JournalUnavailable.into() };
        if self.owes_start() {
            return Err(unavailable());
        }
        let begun = tokio::time::Instant::now();
        let recorded = self.store.append_issuance(event, levels).await;
        self.metrics.journaled(begun.elapsed());
        recorded.map_err(|error| {
            tracing::error!(%error, "no durable event, so no token");
            unavailable()
        })
    }

    /// Counts and journals a refusal, and says what its sender may know. Within the rate of its source
    /// each has an event; those beyond it get 429 and are counted in the source's next event. Each agent, and all
    /// strangers together, have so many events, and are counted beyond that.
    async fn refuse(&self, call: &Call, denied: Denied, registry: &Registry, caller: Caller) -> Denied {
        self.metrics.refused(denied.reason);
        let agent = caller.agent.as_ref().map(|agent| agent.id.as_str());
        tracing::debug!(reason = denied.reason.as_str(), agent, "refused");
        if denied.reason == Reason::Overloaded {
            // Of the whole broker, and nothing that this caller did.
            return denied;
        }
        let untold = match self.rules.policy().limits.refusal(call.peer) {
            Ok(untold) => untold,
            Err(_) if denied.reason.is_fault() => return denied,
            Err(TooMany(wait)) => return Denied { retry_after: Some(wait), ..Reason::RateLimited.into() },
        };
        if !self.may_tell(call, untold, caller.agent.as_deref()) {
            return denied;
        }
        if let Some(detail) = &denied.detail {
            tracing::info!(reason = denied.reason.as_str(), %detail, "proof refused");
        }
        let more = (untold > 0).then(|| format!("{untold} more refusals of this source before this one"));
        let words: Vec<&str> = denied.detail.as_deref().into_iter().chain(more.as_deref()).collect();
        let event = Event {
            reason: Some(denied.reason.as_str().to_owned()),
            agent: caller.agent.as_ref().map(|agent| agent.id.clone()),
            owner: caller.agent.as_ref().map(|agent| agent.owner.clone()),
            workload: caller.identity.map(|identity| identity.workload()),
            registry: Some(Arc::clone(registry.revision())),
            detail: (!words.is_empty()).then(|| words.join("; ")),
            ..self.event(Kind::TokenRefused, Outcome::Refused, Some(call))
        };
        if let Err(error) = self.store.append(event).await {
            tracing::error!(%error, request = %call.request, reason = denied.reason.as_str(), "refusal not journaled");
        }
        denied
    }
}

impl Broker {
    /// Whether a refusal has an event of its own.
    fn may_tell(&self, call: &Call, untold: u64, agent: Option<&Agent>) -> bool {
        let policy = self.rules.policy();
        let limits = &policy.limits;
        match agent {
            Some(agent) => limits.known_agents.may_tell(&agent.id, call.peer, untold, Instant::now()),
            None => limits.strangers.may_tell(call.peer, untold, Instant::now()),
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "store");
        Reason::JournalUnavailable.into()
    }
}
