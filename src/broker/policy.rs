//! What the broker decides by: one revision of the configuration and of the agent files, which are put in force and
//! refused whole. A request holds on to the revision it started with.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::decisions::Decisions;
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
pub(super) struct Reloaded {
    /// What was wrong with it, until a good one comes.
    rejected: Option<String>,
    /// Keys whose new values this process cannot take over.
    needs_restart: Vec<&'static str>,
}

impl Reloaded {
    /// What operators should know.
    pub(super) fn degraded(&self) -> impl Iterator<Item = String> {
        let rejected = self.rejected.as_ref();
        let rejected = rejected.map(|problem| format!("configuration: {problem}; the last good one serves"));
        let keys = self.needs_restart.join(", ");
        let restart = (!keys.is_empty()).then(|| format!("configuration: needs a restart: {keys}"));
        rejected.into_iter().chain(restart)
    }

    pub(super) fn is_rejected(&self) -> bool {
        self.rejected.is_some()
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
        let now = self.policy.load_full();
        if rules.registry.revision() != now.registry.revision() {
            self.store.append(self.loaded(&rules.registry)).await?;
        }
        if now.limits.settings() != rules.limits {
            self.count_refusals(true).await;
        }
        self.policy.store(Arc::new(now.replaced_by(rules)));
        // The agent files were read with it, and are good.
        self.rejected.store(Arc::new(None));
        for warning in &warnings {
            tracing::warn!(%warning, "configuration");
        }
        match needs_restart.as_slice() {
            [] => tracing::info!("configuration loaded"),
            keys => {
                tracing::warn!(keys = keys.join(", "), "configuration loaded, but these keys need a restart")
            }
        }
        self.reloaded.store(Arc::new(Reloaded { rejected: None, needs_restart }));
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
        let problem = format!("{}, the first: {first}", counted(mistakes.len(), "mistake"));
        let needs_restart = self.reloaded.load().needs_restart.clone();
        self.reloaded.store(Arc::new(Reloaded { rejected: Some(problem), needs_restart }));
        let detail = format!("{}; the last good configuration serves", counted(mistakes.len(), "mistake"));
        let event =
            Event { detail: Some(detail), ..self.event(Kind::ConfigurationRejected, Outcome::Refused, None) };
        self.journal_start().await?;
        self.store.append(event).await.map(drop)
    }

    /// The agents in force, for whoever reads the next ones.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.policy.load().registry)
    }

    /// Who checks proofs now, whose keys the next one may go on with.
    pub fn authenticator(&self) -> Arc<Authenticator> {
        Arc::clone(&self.policy.load().authenticator)
    }
}
