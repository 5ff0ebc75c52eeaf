//! What the broker decides by: one revision of the configuration and of the agent files, which are put in force and
//! refused whole. A request holds on to the revision it started with.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::broker::Broker;
use crate::broker::decisions::Decisions;
use crate::broker::degraded::Degraded;
use crate::broker::limits::RateLimits;
use crate::broker::settings::Limits;
use crate::domain::count::counted;
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::guardrails::Guardrails;
use crate::domain::id::IssuerName;
use crate::identity::Authenticator;
use crate::registry::Registry;
use crate::store::StoreError;

#[derive(Clone)]
pub(super) struct Policy {
    /// Who may vouch for a workload: issuers and trust domains.
    pub(super) issuers: Arc<[IssuerName]>,
    /// How many of them are trust domains.
    pub(super) trust_domains: usize,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) decisions: Arc<Decisions>,
    pub(super) limits: Arc<RateLimits>,
    pub(super) registry: Arc<Registry>,
}

/// The part of a configuration that a running broker can change.
pub struct Rulebook {
    pub issuers: Vec<IssuerName>,
    pub trust_domains: usize,
    pub authenticator: Authenticator,
    pub guardrails: Guardrails,
    pub limits: Limits,
    pub registry: Registry,
}

impl From<Rulebook> for Policy {
    fn from(rules: Rulebook) -> Self {
        Self {
            issuers: rules.issuers.into(),
            trust_domains: rules.trust_domains,
            authenticator: Arc::new(rules.authenticator),
            decisions: Arc::new(Decisions::new(rules.guardrails)),
            limits: Arc::new(RateLimits::new(rules.limits)),
            registry: Arc::new(rules.registry),
        }
    }
}

impl Policy {
    /// `rules` in the place of these; what was counted and remembered goes on where its rule is the same.
    fn replaced_by(&self, rules: Rulebook) -> Self {
        let (limits, guardrails) = (rules.limits, rules.guardrails.clone());
        let mut next = Self::from(rules);
        if self.limits.settings() == limits {
            next.limits = Arc::clone(&self.limits);
        }
        if *self.decisions.guardrails() == guardrails {
            next.decisions = Arc::clone(&self.decisions);
        }
        next
    }
}

/// How the last change of the configuration went.
#[derive(Default)]
struct Reloaded {
    /// What was wrong with it, until a good one comes.
    rejected: Option<String>,
    /// Keys whose new values this process cannot take over.
    needs_restart: Vec<&'static str>,
}

/// The policy in force, and what became of the last changes of it.
pub(super) struct InForce {
    policy: ArcSwap<Policy>,
    configuration: ArcSwap<Reloaded>,
    /// What was wrong with the last change of the agent files, until a good one comes.
    rejected_agents: ArcSwap<Option<String>>,
}

impl InForce {
    pub(super) fn new(rules: Rulebook) -> Self {
        Self {
            policy: ArcSwap::from_pointee(rules.into()),
            configuration: ArcSwap::default(),
            rejected_agents: ArcSwap::default(),
        }
    }

    /// A request keeps it in an `Arc`, because it may be replaced meanwhile.
    pub(super) fn policy(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Replaces all of it. The agent files were read with the configuration, and are good.
    fn replace(&self, rules: Rulebook, needs_restart: Vec<&'static str>) {
        self.policy.store(Arc::new(self.policy.load().replaced_by(rules)));
        self.rejected_agents.store(Arc::new(None));
        self.configuration.store(Arc::new(Reloaded { rejected: None, needs_restart }));
    }

    /// Keeps what is in force, and remembers what was wrong with the configuration.
    fn reject(&self, problem: String) {
        let needs_restart = self.configuration.load().needs_restart.clone();
        self.configuration.store(Arc::new(Reloaded { rejected: Some(problem), needs_restart }));
    }

    pub(super) fn replace_agents(&self, registry: Arc<Registry>) {
        self.policy.store(Arc::new(Policy { registry, ..Policy::clone(&self.policy.load()) }));
        self.rejected_agents.store(Arc::new(None));
    }

    pub(super) fn reject_agents(&self, problem: String) {
        self.rejected_agents.store(Arc::new(Some(problem)));
    }

    /// What operators should know.
    pub(super) fn degraded(&self) -> Vec<Degraded> {
        let (agents, configuration) = (self.rejected_agents.load(), self.configuration.load());
        let check = "correct the files: `hallpass check-config` names every mistake";
        let agents = agents.as_ref().as_ref().map(|problem| {
            Degraded::new(format!("registry: {problem}; the last good revision serves"), check)
        });
        let rejected = configuration.rejected.as_ref();
        let rejected = rejected.map(|problem| {
            Degraded::new(format!("configuration: {problem}; the last good one serves"), check)
        });
        let keys = configuration.needs_restart.join(", ");
        let restart = (!keys.is_empty()).then(|| {
            Degraded::new(
                format!("configuration: needs a restart: {keys}"),
                "restart this broker, or put the old values back",
            )
        });
        agents.into_iter().chain(rejected).chain(restart).collect()
    }

    pub(super) fn has_rejected_configuration(&self) -> bool {
        self.configuration.load().rejected.is_some()
    }

    pub(super) fn has_rejected_agents(&self) -> bool {
        self.rejected_agents.load().is_some()
    }
}

/// A configuration that was checked and can be put in force.
pub struct NewConfiguration {
    pub rules: Rulebook,
    pub warnings: Vec<Warning>,
    /// Keys that were changed and that this process cannot take over.
    pub needs_restart: Vec<&'static str>,
}

impl Broker {
    /// Puts a changed configuration in force, with the agent files that were read under it. The event is durable before
    /// anything is decided by it.
    ///
    /// # Errors
    /// While the store cannot be written; nothing has changed then.
    pub async fn configuration_changed(&self, change: NewConfiguration) -> Result<(), StoreError> {
        let NewConfiguration { rules, warnings, needs_restart } = change;
        let restart = match needs_restart.as_slice() {
            [] => String::new(),
            keys => format!("; needs a restart: {}", keys.join(", ")),
        };
        let detail = format!(
            "{}, {}{restart}",
            counted(rules.issuers.len(), "issuer"),
            counted(rules.registry.agents().len(), "agent")
        );
        let loaded =
            Event { detail: Some(detail), ..self.event(Kind::ConfigurationLoaded, Outcome::Done, None) };
        self.journal_start().await?;
        self.store.append(loaded).await?;
        let now = Arc::clone(&self.rules.policy());
        if rules.registry.revision() != now.registry.revision() {
            self.store.append(self.loaded(&rules.registry)).await?;
        }
        if now.limits.settings() != rules.limits {
            self.count_refusals(true).await;
        }
        self.rules.replace(rules, needs_restart.clone());
        for warning in &warnings {
            tracing::warn!(%warning, "configuration");
        }
        match needs_restart.as_slice() {
            [] => tracing::info!("configuration loaded"),
            keys => {
                tracing::warn!(keys = keys.join(", "), "configuration loaded, but these keys need a restart")
            }
        }
        Ok(())
    }

    /// Keeps the configuration in force and tells why the new one was refused.
    ///
    /// # Errors
    /// While the store cannot be written; it was logged all the same, and readiness says so.
    pub async fn configuration_rejected(&self, mistakes: &[Diagnostic]) -> Result<(), StoreError> {
        for mistake in mistakes {
            tracing::error!(%mistake, "configuration rejected");
        }
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        let mistakes = counted(mistakes.len(), "mistake");
        self.rules.reject(format!("{mistakes}, the first: {first}"));
        let detail = format!("{mistakes}; the last good configuration serves");
        let event =
            Event { detail: Some(detail), ..self.event(Kind::ConfigurationRejected, Outcome::Refused, None) };
        self.journal_start().await?;
        self.store.append(event).await.map(drop)
    }

    /// The agents in force, for whoever reads the next ones.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.rules.policy().registry)
    }

    /// Who checks proofs now, whose keys the next one may go on with.
    pub fn authenticator(&self) -> Arc<Authenticator> {
        Arc::clone(&self.rules.policy().authenticator)
    }
}
