//! The kill switch: stop, lift, and what a stop would hit.
//!
//! Durable first, then live: a stop is in the store, in one transaction with its event, before the
//! authority hears of it. With the store down the stop takes effect all the same, and its event waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::broker::{Broker, Call};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::{AgentId, BrokerName, IssuerName, OperatorName, Owner, StopId};
use crate::domain::revocation::{Levels, Lift, Standing, Stop, StopBook, Target, Verdict};
use crate::domain::time::Timestamp;
use crate::revocation::{Revision, RevocationError};
use crate::store::{self, StoreError};

/// How long `revoke` waits for other brokers to say that they have seen the change.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the event of a stop is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Audited {
    Recorded,
    /// The store is down: the stop is in effect, its event follows when the store is back.
    Pending,
}

/// A change of the kill switch that is in effect.
#[derive(Debug, Clone)]
pub struct Killed {
    pub stop: Stop,
    pub took_effect: Timestamp,
    pub confirmed: Vec<BrokerName>,
    pub pending: Vec<BrokerName>,
    pub audit: Audited,
}

#[derive(Debug)]
pub enum Lifted {
    Done(Killed),
    /// Nothing was changed: the stop was lifted before.
    Before(Stop),
}

#[derive(Debug, thiserror::Error)]
pub enum KillError {
    #[error("{0} is not known: nothing was stopped")]
    UnknownTarget(Target),
    #[error("there is no stop {0}")]
    UnknownStop(StopId),
    #[error("the store cannot be written: {0}")]
    Store(#[from] StoreError),
    /// This broker refuses by the stop all the same, and journals it when the store is back.
    #[error(
        "neither the store nor the kill switch can be reached: this broker alone knows of the stop; ask again"
    )]
    Unreachable,
    #[error("the operating system gave no random bytes")]
    Random,
    #[error("a fault in the broker; its log has the request id")]
    Fault,
}

/// What a stop would hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub live_tokens: u64,
    pub agents: Vec<AgentId>,
    pub repositories: Vec<String>,
}

/// Stops in effect whose events wait for the store. Until it has them they count beside what it says:
/// it may be back, and the authority gone, before they are written.
#[derive(Default)]
pub(super) struct Unjournaled(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    stops: Vec<(Stop, Event)>,
    /// What `stops` say, for a quick answer; what is written already stays in it until all are.
    book: StopBook,
}

impl Unjournaled {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, stop: Stop, event: Event) {
        let mut waiting = self.lock();
        waiting.book.note(stop.target.clone(), stop.standing());
        waiting.stops.push((stop, event));
    }

    fn all(&self) -> Vec<(Stop, Event)> {
        self.lock().stops.clone()
    }

    fn written(&self, id: StopId) {
        let mut waiting = self.lock();
        waiting.stops.retain(|(stop, _)| stop.id != id);
        if waiting.stops.is_empty() {
            waiting.book = StopBook::default();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().stops.len()
    }

    pub(super) fn verdict(&self, levels: &Levels) -> Verdict {
        self.lock().book.verdict(levels)
    }
}

impl Broker {
    /// Stops `target`. From the moment this returns no token is issued to it, and its tokens are dead.
    /// `operator` is none where the holder of a token ends it.
    ///
    /// Runs to its end even when the caller goes away in the middle.
    pub async fn revoke(
        self: &Arc<Self>,
        call: Call,
        operator: Option<OperatorName>,
        target: Target,
        reason: String,
    ) -> Result<Killed, KillError> {
        let broker = Arc::clone(self);
        finish(async move { broker.stop(&call, operator, target, reason).await }).await
    }

    /// Ends the stop `id`. Tokens issued before it stay dead.
    pub async fn lift(
        self: &Arc<Self>,
        call: Call,
        operator: OperatorName,
        id: StopId,
        reason: String,
    ) -> Result<Lifted, KillError> {
        let broker = Arc::clone(self);
        finish(async move { broker.end_stop(&call, operator, id, reason).await }).await
    }

    /// What stopping `target` would hit now.
    pub async fn preview(&self, target: &Target) -> Result<Preview, KillError> {
        let registry = self.registry.load_full();
        let mut agents: Vec<AgentId> = match target {
            Target::Agent(id) => registry.agent(id).iter().map(|agent| agent.id.clone()).collect(),
            Target::Owner(owner) => {
                registry.agents().filter(|a| a.owner == *owner).map(|a| a.id.clone()).collect()
            }
            Target::Issuer(name) => {
                registry.agents().filter(|a| a.issuers().contains(name)).map(|a| a.id.clone()).collect()
            }
            Target::Everything => registry.agents().map(|a| a.id.clone()).collect(),
            Target::Token(_) => Vec::new(),
        };
        let hit = self.store.reach(target, self.now()).await?;
        agents.extend(hit.agents);
        agents.sort();
        agents.dedup();
        Ok(Preview { live_tokens: hit.tokens, agents, repositories: hit.repositories.into_iter().collect() })
    }

    async fn stop(
        &self,
        call: &Call,
        operator: Option<OperatorName>,
        target: Target,
        reason: String,
    ) -> Result<Killed, KillError> {
        let (agent, owner) = self.whose(&target).await?;
        let now = self.now();
        let id = StopId::new(now, &self.random.for_id().map_err(|_| KillError::Random)?);
        let stop = Stop { id, target, at: now, reason, operator, lift: None };
        let event = Event {
            at: now,
            reason: Some(stop.reason.clone()),
            operator: stop.operator.clone(),
            target: Some(stop.target.clone()),
            agent,
            owner,
            ..self.event(Kind::RevocationStopped, Outcome::Done, Some(call))
        };
        match self.store.stop(stop.clone(), event.clone()).await {
            Ok(stop) => Ok(self.spread(stop, Audited::Recorded).await),
            Err(error) => {
                tracing::error!(%error, target = %stop.target, "stop without the store: audit pending");
                // Whatever the authority says: this broker refuses from here on, so it owes the event.
                self.unjournaled.push(stop.clone(), event);
                if let Err(error) = self.apply(&stop.target, stop.standing()).await {
                    tracing::error!(%error, target = %stop.target, "stop without the store or the kill switch");
                    return Err(KillError::Unreachable);
                }
                Ok(self.spread(stop, Audited::Pending).await)
            }
        }
    }

    async fn end_stop(
        &self,
        call: &Call,
        operator: OperatorName,
        id: StopId,
        reason: String,
    ) -> Result<Lifted, KillError> {
        let lift = Lift { at: self.now(), reason, operator };
        let event = Event {
            reason: Some(lift.reason.clone()),
            operator: Some(lift.operator.clone()),
            ..self.event(Kind::RevocationLifted, Outcome::Done, Some(call))
        };
        let owners = self.registry.load_full();
        let of_stop = move |stop: &Stop| {
            let agent = match &stop.target {
                Target::Agent(id) => owners.agent(id),
                _ => None,
            };
            Event {
                agent: agent.map(|agent| agent.id.clone()),
                owner: agent.map(|agent| agent.owner.clone()),
                target: Some(stop.target.clone()),
                ..event
            }
        };
        // A stop that the store has not heard of cannot be lifted in it.
        self.journal_pending().await;
        match self.store.lift(id, lift, of_stop).await? {
            store::Lifted::Now(stop) => Ok(Lifted::Done(self.spread(stop, Audited::Recorded).await)),
            store::Lifted::Already(stop) => Ok(Lifted::Before(stop)),
            store::Lifted::Unknown => Err(KillError::UnknownStop(id)),
        }
    }

    /// Tells the authority and every broker what the store holds, and who has confirmed it.
    ///
    /// An authority that cannot be reached is refilled from the store when it is back; until then
    /// issuance asks the store, so the change is in effect here and the other brokers are unknown.
    async fn spread(&self, stop: Stop, audit: Audited) -> Killed {
        let standing = stop.standing();
        let took_effect = self.now();
        let (confirmed, pending) = match self.announce(&stop.target, standing).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, target = %stop.target, "kill switch not reached; the store holds the change");
                (vec![self.name.clone()], Vec::new())
            }
        };
        Killed { stop, took_effect, confirmed, pending, audit }
    }

    async fn announce(
        &self,
        target: &Target,
        standing: Standing,
    ) -> Result<(Vec<BrokerName>, Vec<BrokerName>), RevocationError> {
        let revision = self.apply(target, standing).await?;
        let seen = self.revocation.confirmations(&revision, PATIENCE).await?;
        Ok((seen.confirmed, seen.pending))
    }

    async fn apply(&self, target: &Target, standing: Standing) -> Result<Revision, RevocationError> {
        match self.revocation.apply(target, standing).await {
            Err(RevocationError::Amnesia) => {
                self.refill().await?;
                self.revocation.apply(target, standing).await
            }
            applied => applied,
        }
    }

    /// The agent and owner that a stop of `target` is about, for its event. A name that nothing bears
    /// is a slip of the hand and stops nothing; where the store cannot tell, the stop goes ahead.
    async fn whose(&self, target: &Target) -> Result<(Option<AgentId>, Option<Owner>), KillError> {
        let registry = self.registry.load_full();
        let unknown = || KillError::UnknownTarget(target.clone());
        match target {
            Target::Agent(id) => match registry.agent(id) {
                Some(agent) => Ok((Some(id.clone()), Some(agent.owner.clone()))),
                None if self.was_issued_to(target).await => Ok((Some(id.clone()), None)),
                None => Err(unknown()),
            },
            Target::Owner(owner) => {
                let known = registry.agents().any(|agent| agent.owner == *owner);
                let known = known || self.was_issued_to(target).await;
                known.then(|| (None, Some(owner.clone()))).ok_or_else(unknown)
            }
            Target::Token(id) => match self.store.token(*id).await {
                Ok(Some(issued)) => {
                    let event = issued.event();
                    Ok(event.map_or((None, None), |event| (event.agent, event.owner)))
                }
                Ok(None) => Err(unknown()),
                Err(_) => Ok((None, None)),
            },
            Target::Issuer(name) => self.knows_issuer(name).then_some((None, None)).ok_or_else(unknown),
            Target::Everything => Ok((None, None)),
        }
    }

    fn knows_issuer(&self, name: &IssuerName) -> bool {
        name.as_str() == IssuerName::KEY || self.issuers.contains(name)
    }

    /// Whether a target that is not registered any more still has live tokens, or the store cannot tell.
    async fn was_issued_to(&self, target: &Target) -> bool {
        self.store.reach(target, self.now()).await.map_or(true, |hit| hit.tokens > 0)
    }

    /// Journals the stops that took effect while the store was down.
    pub(super) async fn journal_pending(&self) {
        for (stop, event) in self.unjournaled.all() {
            let id = stop.id;
            match self.store.stop(stop, event).await {
                // Only now, so that there is no moment at which neither knows of it.
                Ok(_) => self.unjournaled.written(id),
                Err(error) => {
                    tracing::warn!(%error, stop = %id, "a stop still waits for the store");
                }
            }
        }
    }
}

/// Runs `work` to its end, whoever stops waiting for it.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, KillError>> + Send + 'static,
) -> Result<T, KillError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "kill switch task");
            Err(KillError::Fault)
        }
    }
}
