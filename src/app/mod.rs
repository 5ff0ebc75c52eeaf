//! The composition root: a checked configuration becomes a running broker, and ends in good order.

mod ambient;
mod broker;
mod certificates;
mod descriptors;
mod files;
mod given_up;
mod keys;
mod listeners;
#[cfg(feature = "otlp")]
mod otlp;
mod tasks;
mod telemetry;
#[cfg(test)]
mod tests;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::config::{Checked, Config};
use crate::http::Reachable;
use crate::http::listener::register_metrics as register_room;
use crate::http::tls::register_metrics as register_tls;
use crate::registry::Watcher;
use crate::store::{Missing, Store, StoreError};
use crate::telemetry::{Metrics, register_log_metrics};

pub use ambient::Ambient;
use certificates::Certificates;
use files::{Files, Followed};
pub use given_up::GivenUp;
pub use keys::{checkpoint_key, opens_every_key};
use listeners::Listeners;
pub use telemetry::Telemetry;
use threads::Threads;

/// How long the end of a broker waits for what runs beside the listeners.
const TASKS_END: Duration = Duration::from_secs(5);

/// A running broker.
pub struct App {
    /// Where the public listener is bound.
    pub public: SocketAddr,
    /// Where the admin listener is bound.
    pub admin: SocketAddr,
    broker: Arc<Broker>,
    /// The store that this broker opened.
    store: Option<Store>,
    stop: watch::Sender<bool>,
    reload: Arc<Notify>,
    listeners: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    threads: Option<Threads>,
}

impl App {
    /// Starts the broker, on threads of its own, and serves. Returns when both listeners are bound and tokens can be
    /// issued, or the store [cannot be written](Self::waits_for_store).
    pub async fn start(checked: Checked, ambient: Ambient) -> anyhow::Result<Self> {
        Self::start_without(GivenUp::default(), checked, ambient).await
    }

    /// The same, and goes on without what the operator has given up.
    pub async fn start_without(
        given_up: GivenUp,
        checked: Checked,
        ambient: Ambient,
    ) -> anyhow::Result<Self> {
        let threads = Threads::start().context("the threads of the broker")?;
        let starting = Self::start_on(threads.public().clone(), given_up, checked, ambient);
        let started = threads.admin().spawn(starting).await;
        let app = started.context("the start of the broker")??;
        Ok(Self { threads: Some(threads), ..app })
    }

    /// Runs on the admin runtime, which everything belongs to but the public listener.
    async fn start_on(
        threads: Handle,
        given_up: GivenUp,
        checked: Checked,
        ambient: Ambient,
    ) -> anyhow::Result<Self> {
        let Checked { config, registry, source, .. } = checked;
        let listeners = Listeners::bind(&threads, &config).await?;
        let callers = ArcSwap::from_pointee(keys::callers(&config, &ambient.random)?);
        let tls = certificates::open(&config, &ambient.clock)?;
        let agents = Watcher::new(config.registry_path.clone(), config.rules(), &registry);
        let (stop, stopping) = watch::channel(false);
        let is_shared = ambient.store.is_some();
        let store = match ambient.store.clone() {
            Some(store) => store,
            None => open_store(&config, given_up).await?,
        };
        let keys = keys::open(&config, &store, &ambient, given_up.signing_keys).await?;
        let broker::Started { broker, follower } =
            broker::start(&config, registry, &store, keys, given_up, ambient.clone(), &stopping).await?;
        let gate = Arc::new(Reachable {
            broker: Arc::clone(&broker),
            callers,
            metrics: metrics(&tls, &listeners),
            tls: tls.all(),
            asks_certificates: tls.public.is_some() || config.server.proxies.certificate.is_some(),
            stopping: stopping.clone(),
        });
        let (public, admin) = listeners.addresses()?;
        let listeners = listeners.serve(&threads, tls.public, tls.admin, Arc::clone(&gate), &stopping);
        let reload = Arc::new(Notify::new());
        let drills = config.drill_every;
        let files = Files {
            broker: Arc::clone(&broker),
            gate,
            ambient,
            started: config,
            agents,
            certificates: tls.watches,
            configuration: Followed::new(source),
        };
        let mut tasks = vec![
            follower,
            tasks::tend(Arc::clone(&broker), stopping.clone()),
            files::follow(files, Arc::clone(&reload), stopping.clone()),
        ];
        tasks.extend(drills.map(|every| tasks::drill(Arc::clone(&broker), every, stopping)));
        let store = Some(store).filter(|_| !is_shared);
        Ok(Self { public, admin, broker, store, stop, reload, listeners, tasks, threads: None })
    }

    /// Whether no token is issued because the start is not in the audit log yet. The kill switch works all the same.
    pub fn waits_for_store(&self) -> bool {
        self.broker.owes_start()
    }

    /// Has the configuration, the certificates and the agent files read again, whether or not they changed. What comes of it is
    /// in the log, the audit log and readiness.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Finishes what is in flight, journals the end, and closes the store.
    ///
    /// # Errors
    /// When stops are lost with this process: neither the store nor the file beside it could be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        for listener in self.listeners {
            log_panic(listener.await);
        }
        end_tasks(self.tasks).await;
        let lost = self.broker.stopped().await;
        drop(self.broker);
        if let Some(store) = self.store {
            store.close().await;
        }
        drop(self.threads);
        anyhow::ensure!(
            lost == 0,
            "{lost} stops are neither in the store nor in the file beside it: they end with this process"
        );
        Ok(())
    }
}

/// Waits until each has ended; what waits for a store that stalls is broken off.
async fn end_tasks(tasks: Vec<JoinHandle<()>>) {
    let deadline = tokio::time::Instant::now() + TASKS_END;
    for mut task in tasks {
        match tokio::time::timeout_at(deadline, &mut task).await {
            Ok(ended) => log_panic(ended),
            Err(_) => {
                tracing::error!("a task still waits for the store or for Redis, and is broken off");
                task.abort();
            }
        }
    }
}

async fn open_store(config: &Config, given_up: GivenUp) -> anyhow::Result<Store> {
    let missing = if given_up.store { Missing::MakeAnew } else { Missing::Refuse };
    let opened = Store::open_or(&config.store, missing).await;
    opened.map_err(|error| {
        let (told, damaged) = (error.at(&config.store), matches!(error, StoreError::Damaged(_)));
        let way_on = if damaged { "; put a backup in its place: hallpass restore FILE" } else { "" };
        anyhow::anyhow!("{told}{way_on}")
    })
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "task");
    }
}

/// The metrics of TLS, of the public listener and of the log.
fn metrics(tls: &Certificates, listeners: &Listeners) -> Metrics {
    let metrics = Metrics::new();
    register_tls(&metrics, tls.all());
    register_room(&metrics, listeners.public_room());
    register_log_metrics(&metrics);
    metrics
}
