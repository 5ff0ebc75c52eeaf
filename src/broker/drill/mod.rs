//! The rehearsal of the kill switch, by the path that a real stop takes.
//!
//! A canary, which is an agent without permissions that no file registers, gets a real token. It is stopped as any agent is.
//! Every broker that is alive and every enforcement point that follows must confirm, and this broker must refuse the
//! token and a new one. Then the stop is lifted, whatever the drill found, and a new token must be good again. A stop
//! that a drill leaves behind, because its broker crashed, ends by itself; that broker lifts it at its next start.

mod canary;
mod report;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use self::canary::NoToken;
pub use self::report::{Drill, DrillPoint, JournaledDrill};
use crate::broker::revoke::{BY_ITSELF, finish};
use crate::broker::{Audience, Broker, Call, Change, Denied, Inspection, KillError, Lifted};
use crate::domain::event::{Event, EventFilter, Kind, Outcome};
use crate::domain::id::{AgentId, OperatorName, Owner, StopId};
use crate::domain::reason::Reason;
use crate::domain::revocation::Target;
use crate::store::StoreError;
use crate::token::AccessToken;

/// A stop that nobody lifts ends after this.
const LASTS: Duration = Duration::from_secs(60);
/// Between two questions whether the token is refused.
const LOOK: Duration = Duration::from_millis(1);
/// How long a token may be taken after its stop has returned, before the drill stops asking.
const LATE: Duration = Duration::from_secs(2);
/// What one write of the drill waits for the store.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the stop is lifted where the store does not take the lift.
const LIFTS: usize = 3;

#[derive(Default)]
pub(super) struct Drills {
    /// The turn to drill.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why there was no drill. Nothing was stopped by it.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error("another drill runs, here or at another broker; try again when it has ended")]
    Busy,
    /// The canary cannot get a token that a stop would kill.
    #[error(
        "a stop of {0} is in force, so a drill would prove nothing; `hallpass revocations` tells who made it"
    )]
    Stopped(Target),
    #[error(transparent)]
    Kill(#[from] KillError),
}

impl Broker {
    /// Rehearses the kill switch. Runs to its end even when the caller goes away in the middle.
    pub async fn drill(self: &Arc<Self>, call: Call, operator: OperatorName) -> Result<Drill, DrillError> {
        let turn = Arc::clone(&self.drills.turn).try_lock_owned().map_err(|_| DrillError::Busy)?;
        let broker = Arc::clone(self);
        finish(async move {
            let drilled = broker.rehearse(&call, operator).await;
            drop(turn);
            Ok(drilled)
        })
        .await?
    }

    /// The same, because it is time.
    pub async fn drill_by_schedule(self: &Arc<Self>) -> Result<Drill, DrillError> {
        let call = self.own_call()?;
        self.drill(call, by_itself()).await
    }

    /// The last drill of any broker.
    pub async fn last_drill(&self) -> Result<Option<JournaledDrill>, StoreError> {
        let mut last = None;
        for kind in [Kind::DrillPassed, Kind::DrillFailed] {
            let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
            let found = self.store.events(&filter, 1, None).await?.pop();
            last = last.into_iter().chain(found).max_by_key(|event| event.seq);
        }
        Ok(last.and_then(|recorded| recorded.event()).map(JournaledDrill::from))
    }

    /// Lifts a stop that an earlier process of this broker left behind. Waits for nobody.
    pub(super) fn begin_to_end_left_drill(self: &Arc<Self>) {
        let Some(stop) = self.kill_switch.in_force(&canary::target()) else { return };
        let broker = Arc::clone(self);
        let lifting = async move {
            let _turn = broker.drills.turn.lock().await;
            match broker.store.stop_of(stop).await {
                Ok(Some(left)) if left.lift.is_none() && left.reason == broker.drill_reason() => {}
                _ => return,
            }
            let Ok(call) = broker.own_call() else { return };
            let why = "the broker ended in the middle of a drill";
            match broker.end_stop(&call, by_itself(), stop, why.to_owned()).await {
                Ok(_) => tracing::info!(%stop, "the stop of a drill that was broken off is lifted"),
                Err(error) => {
                    tracing::warn!(%error, %stop, "the stop of a drill that was broken off ends by itself");
                }
            }
        };
        tokio::spawn(lifting.in_current_span());
    }

    /// A call that nobody made: this machine's own.
    fn own_call(&self) -> Result<Call, KillError> {
        self.call(std::net::Ipv4Addr::LOCALHOST.into()).map_err(|_| KillError::Random)
    }

    /// The reason of the stop, by which this broker knows its own.
    fn drill_reason(&self) -> String {
        format!("a drill of {}", self.name)
    }

    async fn rehearse(self: &Arc<Self>, call: &Call, operator: OperatorName) -> Result<Drill, DrillError> {
        let mut drill = Drill::new(self.now(), self.name.clone(), operator);
        match self.canary_token(call).await {
            Ok(token) => self.stop_canary(call, &token, &mut drill).await?,
            Err(NoToken::Stopped(target)) if target == canary::target() => return Err(DrillError::Busy),
            Err(NoToken::Stopped(target)) => return Err(DrillError::Stopped(target)),
            Err(why) => drill.fail(format!("the canary got no token: {why}")),
        }
        self.tell_drill(call, &mut drill).await;
        Ok(drill)
    }

    /// Stops the canary and lifts the stop again. What goes wrong in between goes into `drill`.
    async fn stop_canary(
        self: &Arc<Self>,
        call: &Call,
        token: &AccessToken,
        drill: &mut Drill,
    ) -> Result<(), DrillError> {
        if self.accepts(token).await != Ok(true) {
            drill.fail(format!("{} did not take the token before the stop", self.name));
        }
        let (began, returned) = (Instant::now(), OnceLock::new());
        let stopping = async {
            let asked = (canary::target(), self.drill_reason());
            let stopped = self.stop(call, drill.operator.clone(), asked, Some(LASTS)).await;
            returned.get_or_init(|| began.elapsed());
            stopped
        };
        let (stopped, watched) = tokio::join!(stopping, self.watch(token, began, &returned));
        let Change { stop, confirmed, pending, heard, already_stopped, .. } = stopped?;
        if already_stopped {
            // Another broker's drill lifts it.
            return Err(DrillError::Busy);
        }
        let returned = *returned.get_or_init(|| began.elapsed());
        drill.confirmed(confirmed, pending, returned, |name| {
            heard.get(name).map_or(returned, |at| at.saturating_duration_since(began))
        });
        drill.refused(watched, returned);
        match self.canary_token(call).await {
            Err(NoToken::Stopped(_)) => {}
            Ok(_) => drill.fail(format!("{} issued a token to the canary while it was stopped", self.name)),
            Err(why) => drill.fail(format!("{} did not refuse the canary as stopped: {why}", self.name)),
        }
        let began = Instant::now();
        if self.lift_canary(call, stop.id, drill).await {
            drill.lifted = Some(began.elapsed());
            self.prove_lift(call, token, drill).await;
        }
        Ok(())
    }

    /// Asks this broker for its verdict on the token until it refuses.
    async fn watch(&self, token: &AccessToken, began: Instant, returned: &OnceLock<Duration>) -> Watched {
        let mut watched = Watched::default();
        loop {
            let asked = began.elapsed();
            match self.accepts(token).await {
                Ok(false) => {
                    watched.refused = Some(began.elapsed());
                    return watched;
                }
                Ok(true) => watched.accepted = Some(asked),
                Err(_) => {}
            }
            if returned.get().is_some_and(|at| asked > *at + LATE) {
                return watched;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether introspection says that the token is good, if it can tell in time.
    async fn accepts(&self, token: &AccessToken) -> Result<bool, Denied> {
        let asked = self.introspect(token.expose(), Audience::Operator);
        let inspected = tokio::time::timeout(PATIENCE, asked).await;
        let inspected = inspected.map_err(|_| Reason::RevocationUnavailable)??;
        Ok(matches!(inspected, Inspection::Active(_)))
    }

    /// Whether the stop is lifted. Where the store does not take the lift, it is tried again.
    async fn lift_canary(self: &Arc<Self>, call: &Call, stop: StopId, drill: &mut Drill) -> bool {
        let mut tries = 0;
        loop {
            tries += 1;
            let reason = "the drill is over".to_owned();
            match self.end_stop(call, drill.operator.clone(), stop, reason).await {
                Ok(Lifted::Done(change)) => {
                    drill.not_lifted_at(&change.pending);
                    return true;
                }
                Ok(Lifted::Before(_)) => {
                    drill.fail("somebody else lifted the stop in the middle of the drill".to_owned());
                    return true;
                }
                Err(error) if tries == LIFTS => {
                    let ends = format!("the canary's stop ends by itself within {} s", LASTS.as_secs());
                    drill.fail(format!("the stop could not be lifted: {error}; {ends}"));
                    return false;
                }
                Err(error) => {
                    tracing::warn!(%error, %stop, "the stop of a drill is not lifted yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// A new token is good, and the old one stays dead.
    async fn prove_lift(&self, call: &Call, old: &AccessToken, drill: &mut Drill) {
        match self.canary_token(call).await {
            Ok(fresh) if self.accepts(&fresh).await == Ok(true) => {}
            Ok(_) => drill.fail(format!("{} did not take a new token after the lift", self.name)),
            Err(why) => drill.fail(format!("the canary got no token after the lift: {why}")),
        }
        if self.accepts(old).await != Ok(false) {
            drill.fail(format!("{} took the stopped token after the lift", self.name));
        }
    }

    /// The result, in the audit log, the metrics and the log.
    async fn tell_drill(&self, call: &Call, drill: &mut Drill) {
        let kind = if drill.has_passed() { Kind::DrillPassed } else { Kind::DrillFailed };
        let event = Event {
            agent: Some(AgentId::canary()),
            owner: Some(Owner::canary()),
            operator: Some(drill.operator.clone()),
            detail: Some(drill.detail()),
            ..self.event(kind, Outcome::Done, Some(call))
        };
        let journaled = match tokio::time::timeout(PATIENCE, self.store.append(event)).await {
            Ok(journaled) => journaled.map(drop),
            Err(_) => Err(StoreError::Busy),
        };
        if let Err(error) = journaled {
            drill.fail(format!("the result is not in the audit log: {error}"));
        }
        self.metrics.drilled(drill.has_passed(), self.now(), drill.slowest());
        if drill.has_passed() {
            tracing::info!(detail = drill.detail(), "a drill of the kill switch passed");
        } else {
            tracing::error!(detail = drill.detail(), "A DRILL OF THE KILL SWITCH FAILED");
        }
    }
}

/// What this broker said of the token, since the stop began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Watched {
    /// The last question that it answered with «good» was asked then.
    accepted: Option<Duration>,
    refused: Option<Duration>,
}

fn by_itself() -> OperatorName {
    BY_ITSELF.parse().expect("it is a name")
}
