//! The kill switch as operators and holders use it: stop, lift, end, and what a stop would hit.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::broker::kill_switch::{Change, Ended, LiftError, lasting};
use crate::broker::refusals::{OperatorRefusal, RefusedOperator};
use crate::broker::{Broker, Call};
use crate::domain::event::{Event, EventFilter, Kind, Outcome};
use crate::domain::id::{AgentId, IssuerName, OperatorName, Owner, StopId};
use crate::domain::revocation::{Lift, Revision, Stop, Target};
use crate::domain::time::Timestamp;
use crate::store::{self, StoreError};

/// What `revoke` and `lift` wait to learn whose token or agent it is: they never wait for a read.
const LOOKUP: Duration = Duration::from_millis(250);

/// Who lifts a stop at its end: no operator may have this name.
pub const BY_ITSELF: &str = "hallpass";

#[derive(Debug)]
pub enum Lifted {
    Done(Change),
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
    /// The token is dead all the same, until then.
    #[error(
        "neither the store nor a file beside it can be written: the token is dead until this broker restarts"
    )]
    Volatile,
    #[error(
        "the store cannot be written, and too many ends of tokens wait for it: the token may still live; try again"
    )]
    TooManyWait,
    #[error(
        "a stop of {0} waits until the store can be written, and holds until then: nothing was lifted; try again"
    )]
    Waits(Target),
    #[error(
        "the store does not answer: the stop may be lifted later all the same; `hallpass revocations` tells"
    )]
    Unanswered,
    #[error("the operating system gave no random bytes")]
    Random,
    #[error("a fault in the broker; its log has the request id")]
    Fault,
}

impl From<LiftError> for KillError {
    fn from(error: LiftError) -> Self {
        match error {
            LiftError::Store(error) => Self::Store(error),
            LiftError::Waits(target) => Self::Waits(target),
            LiftError::Unanswered => Self::Unanswered,
        }
    }
}

/// What a stop would hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The target is a token that this log does not know.
    pub unknown_token: bool,
    pub live_tokens: u64,
    pub agents: Vec<AgentId>,
    pub repositories: Vec<String>,
}

/// Whose a target is, for the event of its stop.
#[derive(Default)]
struct Whose {
    agent: Option<AgentId>,
    owner: Option<Owner>,
    unknown_token: bool,
}

impl Broker {
    /// Stops `target`, until somebody lifts the stop or `lasts` has passed. From the moment this returns no token is issued
    /// to it, and its tokens are dead.
    ///
    /// Runs to its end even when the caller goes away in the middle.
    pub async fn revoke(
        self: &Arc<Self>,
        call: Call,
        operator: OperatorName,
        (target, reason): (Target, String),
        lasts: Option<Duration>,
    ) -> Result<Change, KillError> {
        let broker = Arc::clone(self);
        finish(async move {
            let stopped = broker.stop(&call, operator.clone(), (target, reason), lasts).await;
            broker.tell_unknown(&call, operator, stopped.as_ref().err()).await;
            stopped
        })
        .await
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
        finish(async move {
            let lifted = broker.end_stop(&call, operator.clone(), id, reason).await;
            broker.tell_unknown(&call, operator, lifted.as_ref().err()).await;
            lifted
        })
        .await
    }

    /// When a stop ends by itself, as far as this broker knows; by the wall clock, and never earlier.
    pub fn ends(&self, stop: StopId) -> Option<Timestamp> {
        self.kill_switch.ends(stop)
    }

    /// Lifts the stops whose end has come. Each is lifted once, whichever broker comes first.
    pub(super) async fn lift_ended(&self) -> Result<(), StoreError> {
        let known = self.kill_switch.read_plans().await?;
        for (id, plan) in self.kill_switch.due() {
            let stop = self.store.stop_of(id).await?;
            if stop.is_none_or(|stop| stop.lift.is_some()) {
                self.kill_switch.forget_plan(id);
                continue;
            }
            let Whose { agent, owner, .. } = self.whose(&plan.target).await.unwrap_or_default();
            let operator = BY_ITSELF.parse().expect("it is a name");
            let by = plan.operator.map(|by| format!(" as {by} wanted it")).unwrap_or_default();
            let reason = format!("the time of the stop is over{by}");
            let lift = Lift { at: self.now(), reason, operator, revision: Revision::ZERO };
            let event = Event { agent, owner, ..self.event(Kind::RevocationLifted, Outcome::Done, None) };
            match self.kill_switch.lift_at_end(id, lift, event, known).await {
                // Somebody stops it again just now: the next round knows until when.
                Ok(store::LiftOutcome::Overtaken) => {}
                Ok(_) => {
                    tracing::info!(stop = %id, target = %plan.target, "a stop is lifted at its end");
                    self.kill_switch.forget_plan(id);
                }
                Err(error) => tracing::warn!(%error, stop = %id, "a stop is not lifted at its end yet"),
            }
        }
        Ok(())
    }

    /// What stopping `target` would hit now.
    pub async fn preview(&self, target: &Target) -> Result<Preview, KillError> {
        let registry = self.registry();
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
        let unknown_token = match target {
            Target::Token(id) => self.store.token(*id).await?.is_none(),
            _ => false,
        };
        agents.extend(hit.agents);
        agents.sort();
        agents.dedup();
        let repositories = hit.repositories.into_iter().collect();
        Ok(Preview { unknown_token, live_tokens: hit.tokens, agents, repositories })
    }

    /// Ends `token` for its holder (RFC 7009). A token that is dead already, or none of ours, is left as it is. One that is
    /// expired is ended all the same: a clock that is ahead would have its holder believe that it is dead.
    ///
    /// # Errors
    /// `Volatile` where the end would not outlive this process, `TooManyWait` where nothing was ended.
    pub async fn end(self: &Arc<Self>, call: Call, token: &str) -> Result<(), KillError> {
        let Ok(claims) = self.keys.issued(token, &self.issuer).await else { return Ok(()) };
        // Else it would be dead only until the store has made as many changes again.
        self.notice_lost_history(&claims).await;
        // What would end with this process is no end yet.
        if self.kill_switch.lastingly_known(&claims.levels()).is_dead() {
            return Ok(());
        }
        let id = self.new_stop_id()?;
        let event = Event {
            reason: Some("ended by its holder".to_owned()),
            target: Some(Target::Token(claims.jti)),
            agent: Some(claims.client_id.clone()),
            owner: Some(claims.owner.clone()),
            ..self.event(Kind::RevocationStopped, Outcome::Done, Some(&call))
        };
        let (broker, token) = (Arc::clone(self), claims.jti);
        match finish(async move { Ok(broker.kill_switch.end(token, id, event).await) }).await? {
            Ended::Now => Ok(()),
            Ended::Volatile => Err(KillError::Volatile),
            Ended::Refused => Err(KillError::TooManyWait),
        }
    }

    /// Journals that an operator named what there is not.
    async fn tell_unknown(&self, call: &Call, operator: OperatorName, error: Option<&KillError>) {
        let (target, detail) = match error {
            Some(KillError::UnknownTarget(target)) => {
                (Some(target.clone()), "nothing was stopped".to_owned())
            }
            Some(KillError::UnknownStop(id)) => (None, format!("nothing was lifted: there is no stop {id}")),
            _ => return,
        };
        let why = OperatorRefusal::UnknownTarget;
        self.refuse_operator(call, RefusedOperator { why, operator: Some(operator), target, detail }).await;
    }

    fn new_stop_id(&self) -> Result<StopId, KillError> {
        Ok(StopId::new(self.now(), &self.random.for_id().map_err(|_| KillError::Random)?))
    }

    pub(super) async fn stop(
        &self,
        call: &Call,
        operator: OperatorName,
        (target, reason): (Target, String),
        lasts: Option<Duration>,
    ) -> Result<Change, KillError> {
        let Whose { agent, owner, unknown_token } = self.whose(&target).await?;
        let (id, at) = (self.new_stop_id()?, self.now());
        let stop = Stop { id, target, at, reason, operator: Some(operator), revision: None, lift: None };
        let event = Event {
            at,
            reason: Some(stop.reason.clone()),
            operator: stop.operator.clone(),
            target: Some(stop.target.clone()),
            ttl: lasting(lasts),
            agent,
            owner,
            detail: unknown_token
                .then(|| "this log knows no such token; it is stopped all the same".to_owned()),
            ..self.event(Kind::RevocationStopped, Outcome::Done, Some(call))
        };
        Ok(Change { unknown_token, ..self.kill_switch.stop(stop, event).await })
    }

    pub(super) async fn end_stop(
        &self,
        call: &Call,
        operator: OperatorName,
        id: StopId,
        reason: String,
    ) -> Result<Lifted, KillError> {
        let lift = Lift { at: self.now(), reason, operator, revision: Revision::ZERO };
        // Only for its event: the kill switch finds the stop anew.
        let stop = match tokio::time::timeout(LOOKUP, self.store.stop_of(id)).await {
            Ok(found) => found?,
            Err(_) => None,
        };
        let lifted = stop.map(|stop| stop.target);
        let Whose { agent, owner, .. } = match &lifted {
            Some(target) => self.whose(target).await.unwrap_or_default(),
            None => Whose::default(),
        };
        let event = Event { agent, owner, ..self.event(Kind::RevocationLifted, Outcome::Done, Some(call)) };
        match self.kill_switch.lift(id, lift, event).await? {
            (store::LiftOutcome::Already(stop), _) => Ok(Lifted::Before(stop)),
            (_, Some(change)) => Ok(Lifted::Done(change)),
            (_, None) => Err(KillError::UnknownStop(id)),
        }
    }

    /// The agent and owner that a stop of `target` is about, for its event. A name that nothing bears
    /// is a slip of the hand and stops nothing; where the store cannot tell, the stop goes ahead.
    ///
    /// So does that of a token which the log does not know. Nobody mistypes a token's id as another one, and the token may
    /// be of a history that a restored store lost; a stop of a token that never was does no harm.
    async fn whose(&self, target: &Target) -> Result<Whose, KillError> {
        let registry = self.registry();
        let unknown = || KillError::UnknownTarget(target.clone());
        match target {
            Target::Agent(id) if id.as_str() == AgentId::CANARY => {
                Ok(Whose { agent: Some(id.clone()), owner: Some(Owner::canary()), ..Whose::default() })
            }
            Target::Agent(id) => {
                let agent = Some(id.clone());
                match registry.agent(id) {
                    Some(known) => Ok(Whose { agent, owner: Some(known.owner.clone()), ..Whose::default() }),
                    None if self.was_issued(&EventFilter { agent: agent.clone(), ..issued() }).await => {
                        Ok(Whose { agent, ..Whose::default() })
                    }
                    None => Err(unknown()),
                }
            }
            Target::Owner(owner) => {
                let known = registry.agents().any(|agent| agent.owner == *owner);
                let owner = Some(owner.clone());
                let known = known || self.was_issued(&EventFilter { owner: owner.clone(), ..issued() }).await;
                known.then(|| Whose { owner, ..Whose::default() }).ok_or_else(unknown)
            }
            Target::Token(id) => Ok(match tokio::time::timeout(LOOKUP, self.store.token(*id)).await {
                Ok(Ok(Some(issued))) => issued.event().map_or_else(Whose::default, |event| Whose {
                    agent: event.agent,
                    owner: event.owner,
                    unknown_token: false,
                }),
                Ok(Ok(None)) => Whose { unknown_token: true, ..Whose::default() },
                Ok(Err(_)) | Err(_) => Whose::default(),
            }),
            Target::Issuer(name) => {
                let known = self.knows_issuer(name) || self.had_tokens(name).await;
                known.then(Whose::default).ok_or_else(unknown)
            }
            Target::Everything => Ok(Whose::default()),
        }
    }

    fn knows_issuer(&self, name: &IssuerName) -> bool {
        name.as_str() == IssuerName::KEY || self.rules.policy().issuers.contains(name)
    }

    /// Whether a token was ever issued to a name that is not registered any more, or the store cannot tell in time. Whether
    /// one still lives is not asked: by a clock that is wrong none does.
    async fn was_issued(&self, filter: &EventFilter) -> bool {
        let found = tokio::time::timeout(LOOKUP, self.store.events(filter, 1, None)).await;
        found.map_or(true, |found| found.map_or(true, |events| !events.is_empty()))
    }

    /// The same of an issuer that is not configured any more.
    async fn had_tokens(&self, issuer: &IssuerName) -> bool {
        let had = tokio::time::timeout(LOOKUP, self.store.was_issued_by(issuer)).await;
        had.map_or(true, |had| had.unwrap_or(true))
    }
}

fn issued() -> EventFilter {
    EventFilter { kind: Some(Kind::TokenIssued), ..EventFilter::default() }
}

/// Runs `work` to its end, whoever stops waiting for it.
pub(super) async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, KillError>> + Send + 'static,
) -> Result<T, KillError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "kill switch task");
            Err(KillError::Fault)
        }
    }
}
