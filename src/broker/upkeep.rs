//! What has to be done beside the calls: a new revision of the agent files, the rotation of the
//! signing keys, events and stops that wait for the store. `app` says when.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::broker::Broker;
use crate::domain::count::counted;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::event::{Event, Kind, Outcome};
use crate::registry::Registry;

/// How long a round of the upkeep waits for the store. A disk that stalls reports no error, for minutes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same of a broker that ends.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// A new revision of the agent files, or every mistake in it.
pub type NewRegistry = Result<Arc<Registry>, Vec<Diagnostic>>;

impl Broker {
    /// Asks the issuers and trust domains that are due, and waits for none.
    pub fn probe_issuers(&self) {
        self.authenticator().probe();
    }

    /// Puts a changed registry in force, or keeps the last good one and tells why. The event is durable
    /// before the new revision decides anything; while it cannot be, the change is given back.
    pub async fn registry_changed(&self, change: NewRegistry) -> Result<(), NewRegistry> {
        let event = match &change {
            Ok(registry) => self.loaded(registry),
            Err(mistakes) => Event {
                registry: Some(self.registry_revision()),
                detail: Some(format!(
                    "{}; the last good revision serves",
                    counted(mistakes.len(), "mistake")
                )),
                ..self.event(Kind::RegistryRejected, Outcome::Refused, None)
            },
        };
        let journaled = match self.journal_start().await {
            Ok(()) => self.store.append(event).await.map(drop),
            owed => owed,
        };
        if let Err(error) = journaled {
            tracing::error!(%error, "a change of the registry waits for the store");
            return Err(change);
        }
        match change {
            Ok(registry) => {
                tracing::info!(revision = %registry.revision(), "registry loaded");
                for warning in registry.warnings() {
                    tracing::warn!(%warning, "registry loaded");
                }
                self.rules.replace_agents(registry);
            }
            Err(mistakes) => {
                for mistake in &mistakes {
                    tracing::error!(%mistake, "registry rejected");
                }
                let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
                let count = counted(mistakes.len(), "mistake");
                self.rules.reject_agents(format!("{count}, the first: {first}"));
            }
        }
        Ok(())
    }

    pub(super) fn loaded(&self, registry: &Registry) -> Event {
        Event {
            registry: Some(Arc::clone(registry.revision())),
            detail: Some(counted(registry.agents().count(), "agent")),
            ..self.event(Kind::RegistryLoaded, Outcome::Done, None)
        }
    }

    /// The last event, after which the store closes. Gives how many stops would be lost with this process: they are
    /// neither in the store nor in the file beside it.
    pub async fn stopped(self: &Arc<Self>) -> usize {
        if !self.with_store(END_PATIENCE, |broker| async move { broker.journal_end().await }).await {
            tracing::error!("the store stalls: the end of the broker is not journaled");
            self.kill_switch.save_waiting().await;
        }
        self.leave_nodes().await;
        self.kill_switch.unwritten()
    }

    async fn journal_end(&self) {
        if let Err(error) = self.journal_start().await {
            tracing::error!(%error, "the start of the broker is not journaled");
        }
        self.kill_switch.journal_waiting().await;
        self.count_refusals(true).await;
        let event = Event {
            detail: Some(self.name.to_string()),
            ..self.event(Kind::BrokerStopped, Outcome::Done, None)
        };
        if let Err(error) = self.store.append(event).await {
            tracing::error!(%error, "the end of the broker is not journaled");
        }
    }

    /// Once a second or so: what is due.
    pub async fn tend(self: &Arc<Self>) {
        self.rules.policy().limits.forget_quiet();
        self.keys.ring().forget_dead(self.now());
        self.kill_switch.hear_of_followers().await;
        self.meet_nodes().await;
        self.begin_to_lift_ended();
        if !self.with_store(PATIENCE, |broker| async move { broker.tend_store().await }).await {
            self.kill_switch.save_waiting().await;
        }
    }

    /// Waits for nobody: a lift waits for everybody's word.
    fn begin_to_lift_ended(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.lifting).try_lock_owned() else { return };
        let broker = Arc::clone(self);
        let lifting = async move {
            if let Err(error) = broker.lift_ended().await {
                tracing::debug!(%error, "stops for a while wait for the store");
            }
            drop((turn, broker));
        };
        tokio::spawn(lifting.in_current_span());
    }

    /// Does `work`, which may wait for the store, once it has the turn. False where that takes longer than `patience`: it
    /// goes on all the same, because to break it off half-way would do it twice.
    async fn with_store<F>(
        self: &Arc<Self>,
        patience: Duration,
        work: impl FnOnce(Arc<Self>) -> F + Send,
    ) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let working = async {
            let turn = Arc::clone(&self.tending).lock_owned().await;
            let work = work(Arc::clone(self));
            let working = async move {
                work.await;
                drop(turn);
            };
            if let Err(error) = tokio::spawn(working.in_current_span()).await {
                tracing::error!(%error, "upkeep");
            }
        };
        tokio::time::timeout(patience, working).await.is_ok()
    }

    async fn tend_store(&self) {
        // Why it fails, the store has logged, and readiness says.
        let is_journaled = self.journal_start().await.is_ok();
        self.count_refusals(false).await;
        if let Some(step) = self.clock_watch.look(self.now(), std::time::Instant::now()) {
            tracing::warn!(step_ms = step, "the wall clock was set; the stops are read anew");
            self.metrics.clock_stepped();
            self.kill_switch.reread().await;
        }
        match (self.kill_switch.waiting(), is_journaled) {
            (0, _) => self.kill_switch.keep_room().await,
            (_, true) => self.kill_switch.journal_waiting().await,
            (_, false) => self.kill_switch.save_waiting().await,
        }
        if is_journaled && let Err(error) = self.keys.rotate(self.now()).await {
            tracing::error!(%error, "rotation of the signing keys");
        }
    }
}
