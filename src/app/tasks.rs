//! What runs beside the listeners until the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, KillSwitch, NewRegistry};
use crate::http::tls::Watch;
use crate::registry::Watcher;
use crate::revocation::Revocation;

/// How often the agent files and certificates are looked at, and what is due is done.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn follow(
    revocation: Arc<Revocation>,
    kill_switch: Arc<KillSwitch>,
    stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move { revocation.follow(stopping, &*kill_switch).await })
}

pub(super) fn tend(broker: Arc<Broker>, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while !stopped_within(INTERVAL, &mut stopping).await {
            broker.tend().await;
        }
    })
}

pub(super) fn watch(
    broker: Arc<Broker>,
    mut watcher: Watcher,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut waiting: Option<NewRegistry> = None;
        while !stopped_within(INTERVAL, &mut stopping).await {
            let looked = tokio::task::spawn_blocking(move || {
                let change = watcher.changed();
                (watcher, change)
            });
            let Ok((back, change)) = looked.await else {
                tracing::error!("the agent files are not watched any more");
                return;
            };
            watcher = back;
            let change = change.map(|change| change.map(Arc::new));
            if let Some(change) = change.or(waiting.take()) {
                waiting = broker.registry_changed(change).await.err();
            }
        }
    })
}

/// Looks whether the files of certificates were renewed.
pub(super) fn renew(mut watches: Vec<Watch>, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while !watches.is_empty() && !stopped_within(INTERVAL, &mut stopping).await {
            let looked = tokio::task::spawn_blocking(move || {
                watches.iter_mut().for_each(Watch::look);
                watches
            });
            let Ok(back) = looked.await else {
                tracing::error!("the certificates are not watched any more");
                return;
            };
            watches = back;
        }
    })
}

async fn stopped_within(time: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, stopping.wait_for(|stop| *stop)).await.is_ok()
}
