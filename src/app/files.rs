//! The files of a running broker: `hallpass.toml` and what it names, the agent files, the certificates. Each is looked at
//! every second, and all are read again when an operator asks (SIGHUP).
//!
//! A changed configuration is checked whole, as `check-config` does it, and is put in force whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::Ambient;
use super::broker::{authenticator, rulebook};
use super::keys;
use crate::broker::{Broker, NewConfiguration, NewRegistry};
use crate::config::{Checked, Config, Source};
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::domain::digest::Digest;
use crate::http::tls::{Prepared, Watch};
use crate::http::{Callers, Reachable};
use crate::identity::Authenticator;
use crate::registry::{Registry, Watcher, fallen_empty};
use crate::telemetry::set_log_filter;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// After so many looks a configuration that was refused is tried again: what it names may be there by now.
const RETRY: u32 = 5;

/// What is followed, and what was made of it last.
pub(super) struct Files {
    pub(super) broker: Arc<Broker>,
    pub(super) gate: Arc<Reachable>,
    pub(super) ambient: Ambient,
    /// What this process was started with.
    pub(super) started: Config,
    pub(super) agents: Watcher,
    pub(super) certificates: Vec<Watch>,
    pub(super) configuration: Followed,
}

/// The configuration file.
pub(super) struct Followed {
    source: Source,
    /// What was accepted or refused last.
    judged: Option<Digest>,
    /// What was there at the last look.
    seen: Option<Digest>,
    /// Why the last one was refused.
    rejected: Option<Vec<Diagnostic>>,
    /// A good one waits for the store.
    is_owed: bool,
    looks: u32,
}

impl Followed {
    pub(super) fn new(source: Source) -> Self {
        let judged = source.digest();
        Self { source, judged, seen: judged, rejected: None, is_owed: false, looks: 0 }
    }

    /// Whether it is to be read: it changed and stayed so for one look, or somebody asks.
    fn is_due(&mut self, is_asked: bool) -> bool {
        let now = self.source.look();
        let settled = now == self.seen;
        self.seen = now;
        self.looks = self.looks.wrapping_add(1);
        let retry = self.rejected.is_some() && self.looks.is_multiple_of(RETRY);
        is_asked || self.is_owed || retry || (settled && now != self.judged)
    }
}

enum Found {
    Configuration(Result<Box<Next>, Vec<Diagnostic>>),
    Agents(NewRegistry),
}

/// All that a new configuration brings, read and ready.
struct Next {
    config: Config,
    registry: Registry,
    source: Source,
    warnings: Vec<Warning>,
    authenticator: Authenticator,
    callers: Callers,
    agents: Watcher,
    /// By place among the certificates that are followed.
    certificates: Vec<(usize, Prepared)>,
}

/// Follows `files` until `stopping`; reads all of them whenever `asked`.
pub(super) fn follow(
    mut files: Files,
    asked: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut waiting: Option<NewRegistry> = None;
        loop {
            let is_asked = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = asked.notified() => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            let looked = tokio::task::spawn_blocking(move || {
                let found = files.look(is_asked);
                (files, found)
            });
            let Ok((back, found)) = looked.await else {
                tracing::error!(
                    "hallpass.toml, the agent files and the certificates are not followed any more"
                );
                return;
            };
            files = back;
            match found {
                Some(Found::Configuration(Ok(next))) => {
                    if files.put_in_force(*next).await {
                        waiting = None;
                    }
                }
                Some(Found::Configuration(Err(mistakes))) => files.refuse(mistakes, is_asked).await,
                Some(Found::Agents(change)) => waiting = files.broker.registry_changed(change).await.err(),
                None => {
                    if let Some(change) = waiting.take() {
                        waiting = files.broker.registry_changed(change).await.err();
                    }
                }
            }
        }
    })
}

impl Files {
    /// What became of the files. Blocks.
    fn look(&mut self, is_asked: bool) -> Option<Found> {
        if self.configuration.is_due(is_asked) {
            let next = self.read();
            self.configuration.judged = match &next {
                Ok(next) => next.source.digest(),
                Err(_) => self.configuration.seen,
            };
            return Some(Found::Configuration(next.map(Box::new)));
        }
        self.certificates.iter_mut().for_each(Watch::look);
        self.agents.changed().map(|change| Found::Agents(change.map(Arc::new)))
    }

    fn read(&self) -> Result<Next, Vec<Diagnostic>> {
        let serving = self.broker.registry();
        let Checked { config, registry, source, warnings } =
            self.configuration.source.check(self.ambient.clock.now(), &serving)?;
        if registry.agents().len() == 0 && serving.agents().len() > 0 {
            return Err(vec![fallen_empty(&config.registry_path)]);
        }
        let of_file = |problem: String| vec![self.diagnostic(problem)];
        let authenticator = authenticator(&config, &self.started.server.public_url, &self.ambient.clock)
            .map_err(|error| of_file(format!("{error:#}")))?;
        authenticator.go_on_from(&self.broker.authenticator());
        let certificates = self.certificates(&config)?;
        let agents = Watcher::new(config.registry_path.clone(), config.rules(), &registry);
        // Last, because it makes the key of the local operator where there is none.
        let callers =
            keys::callers(&config, &self.ambient.random).map_err(|error| of_file(format!("{error:#}")))?;
        Ok(Next { config, registry, source, warnings, authenticator, callers, agents, certificates })
    }

    /// Those of listeners that have TLS before and after.
    fn certificates(&self, config: &Config) -> Result<Vec<(usize, Prepared)>, Vec<Diagnostic>> {
        let mut prepared = Vec::new();
        for (at, watch) in self.certificates.iter().enumerate() {
            let tls = if watch.name() == "admin.tls" { &config.admin.tls } else { &config.server.tls };
            let Some(settings) = tls else { continue };
            let ready = watch.prepare(settings.clone());
            prepared.push((at, ready.map_err(|unusable| vec![self.diagnostic(unusable.to_string())])?));
        }
        Ok(prepared)
    }

    fn diagnostic(&self, problem: String) -> Diagnostic {
        let (file, remedy) = (self.configuration.source.path().to_path_buf(), "correct it".to_owned());
        Diagnostic { file, line: None, key: String::new(), problem, remedy }
    }

    /// Whether it is in force; otherwise the store is to be written first.
    async fn put_in_force(&mut self, next: Next) -> bool {
        let needs_restart = self.started.needs_restart(&next.config);
        let rules = rulebook(&next.config, next.authenticator, next.registry);
        let change = NewConfiguration { rules, warnings: next.warnings, needs_restart };
        self.configuration.is_owed = match self.broker.configuration_changed(change).await {
            Ok(()) => false,
            Err(error) => {
                tracing::error!(%error, "a change of the configuration waits for the store");
                true
            }
        };
        if self.configuration.is_owed {
            return false;
        }
        self.gate.callers.store(Arc::new(next.callers));
        for (at, prepared) in next.certificates {
            self.certificates[at].serve(prepared);
        }
        set_log_filter(&next.config.log);
        self.agents = next.agents;
        self.configuration.source = next.source;
        self.configuration.rejected = None;
        true
    }

    /// Tells what is wrong, unless that was told and nobody asks.
    async fn refuse(&mut self, mistakes: Vec<Diagnostic>, is_asked: bool) {
        self.configuration.is_owed = false;
        if is_asked || self.configuration.rejected.as_ref() != Some(&mistakes) {
            if let Err(error) = self.broker.configuration_rejected(&mistakes).await {
                tracing::error!(%error, "the refusal of the configuration is not journaled");
            }
            self.configuration.rejected = Some(mistakes);
        }
    }
}
