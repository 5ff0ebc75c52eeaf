//! The composition root: a checked configuration becomes a running broker, and ends in good order.

mod ambient;
mod certificates;
mod descriptors;
mod keys;
#[cfg(feature = "otlp")]
mod otlp;
mod tasks;
mod telemetry;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, KillSwitch, Parts};
use crate::config::{Checked, Config};
use crate::domain::time::Clock;
use crate::http::listener::{Room, register_metrics as register_room};
use crate::http::tls::register_metrics as register_tls;
use crate::http::{Callers, Reachable, admin, listener, public};
use crate::identity::{Authenticator, Dpop, Nonces};
use crate::registry::Watcher;
use crate::revocation::Revocation;
use crate::store::{Spool, Store};
use crate::telemetry::{Metrics, register_log_metrics};

pub use ambient::Ambient;
pub use keys::checkpoint_key;
pub use telemetry::Telemetry;
use threads::Threads;

/// What the start waits for store and Redis to be compared. A broker that has to go on without issues nothing until then.
const FIRST_COMPARISON: Duration = Duration::from_secs(1);

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
    listeners: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    threads: Option<Threads>,
}

impl App {
    /// Starts the broker, on threads of its own, and serves. Returns when both listeners are bound and tokens can be
    /// issued, or the store [cannot be written](Self::waits_for_store).
    pub async fn start(checked: Checked, ambient: Ambient) -> anyhow::Result<Self> {
        let threads = Threads::start().context("the threads of the broker")?;
        let starting = Self::start_on(threads.public().clone(), checked, ambient);
        let started = threads.admin().spawn(starting).await;
        let app = started.context("the start of the broker")??;
        Ok(Self { threads: Some(threads), ..app })
    }

    /// Runs on the admin runtime, which everything belongs to but the public listener.
    async fn start_on(threads: Handle, checked: Checked, ambient: Ambient) -> anyhow::Result<Self> {
        let Checked { config, registry, .. } = checked;
        let shares = descriptors::share(&config.public_limits);
        let (open, room) = (Room::new(shares.public), Room::for_operators(shares.admin));
        let public = threads.spawn(bind(config.server.listen, "server.listen")).await??;
        let admin = bind(config.admin.listen, "admin.listen").await?;
        let callers = Arc::new(callers(&config, &ambient)?);
        let tls = certificates::open(&config, &ambient.clock)?;
        let watcher = Watcher::new(config.registry_path.clone(), config.rules(), &registry);
        let (stop, stopping) = watch::channel(false);
        let is_shared = ambient.store.is_some();
        let store = match ambient.store.clone() {
            Some(store) => store,
            None => Store::open(&config.store).await?,
        };
        let spool = Spool::open(&config.store.path)?;
        let (keys, waiting) = keys::open(&config, &store, &ambient).await?;
        let log = keys::log_verifier(&config, &store, &keys, ambient.clock.now()).await?;
        let revocation = revocation(&config, &log.id(), &ambient.clock).await?;
        let kill_switch =
            Arc::new(KillSwitch::new(store.clone(), Arc::clone(&revocation), spool, ambient.clock.clone()));
        let follower = tasks::follow(revocation, Arc::clone(&kill_switch), stopping.clone());
        kill_switch.wait_until_level(FIRST_COMPARISON).await;
        let broker = Arc::new(Broker::new(Parts {
            name: config.broker_name.clone(),
            issuer: config.server.public_url.clone(),
            issuers: config.vouchers().cloned().collect(),
            trust_domains: config.trust_domains.len(),
            authenticator: authenticator(&config, &ambient)?,
            dpop: dpop(&config, &ambient)?,
            registry,
            guardrails: config.guardrails.clone(),
            log,
            keys,
            store: store.clone(),
            kill_switch,
            limits: config.limits,
            clock: ambient.clock,
            random: ambient.random,
        }));
        broker.started(waiting).await.context("the first event of this broker")?;
        let metrics = Metrics::new();
        register_tls(&metrics, tls.all());
        register_room(&metrics, Arc::clone(&open));
        register_log_metrics(&metrics);
        let gate = Arc::new(Reachable {
            broker: Arc::clone(&broker),
            callers,
            metrics,
            tls: tls.all(),
            asks_certificates: tls.public.is_some(),
        });
        let addresses = (public.local_addr()?, admin.local_addr()?);
        let listeners = vec![
            threads.spawn(listener::serve(
                public,
                tls.public,
                open,
                public::router(gate.clone()),
                stopping.clone(),
            )),
            tokio::spawn(listener::serve(admin, tls.admin, room, admin::router(gate), stopping.clone())),
        ];
        let tasks = vec![
            follower,
            tasks::tend(Arc::clone(&broker), stopping.clone()),
            tasks::watch(Arc::clone(&broker), watcher, stopping.clone()),
            tasks::renew(tls.watches, stopping),
        ];
        Ok(Self {
            public: addresses.0,
            admin: addresses.1,
            broker,
            store: Some(store).filter(|_| !is_shared),
            stop,
            listeners,
            tasks,
            threads: None,
        })
    }

    /// Whether no token is issued because the start is not in the audit log yet. The kill switch works all the same.
    pub fn waits_for_store(&self) -> bool {
        self.broker.owes_start()
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
        for task in self.tasks {
            log_panic(task.await);
        }
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

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "task");
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> anyhow::Result<TcpListener> {
    let bound = listener::bind(address).await;
    bound.with_context(|| format!("{key}: {address} cannot be bound; is another broker running?"))
}

fn callers(config: &Config, ambient: &Ambient) -> anyhow::Result<Callers> {
    let mut operators = config.admin.operators.clone();
    if let Some(file) = &config.admin.local_key_file {
        operators.push(keys::local_operator(file, &ambient.random)?);
    }
    Ok(Callers { operators, resource_servers: config.resource_servers.clone() })
}

fn authenticator(config: &Config, ambient: &Ambient) -> anyhow::Result<Authenticator> {
    let issuer = config.server.public_url.clone();
    let clock = ambient.clock.clone();
    Ok(Authenticator::new(config.issuers.clone(), &config.trust_domains, issuer, clock)?)
}

fn dpop(config: &Config, ambient: &Ambient) -> anyhow::Result<Dpop> {
    let endpoint = format!("{}{}", config.server.public_url, public::TOKEN_PATH).parse()?;
    let nonces = config.dpop_nonce.then(|| Nonces::new(&ambient.random)).transpose()?;
    Ok(Dpop::new(endpoint, nonces))
}

async fn revocation(config: &Config, origin: &str, clock: &Clock) -> anyhow::Result<Arc<Revocation>> {
    let connected =
        Revocation::connect(&config.revocation, config.broker_name.clone(), origin, clock.clone());
    Ok(Arc::new(connected.await?))
}
