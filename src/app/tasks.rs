//! What runs beside the listeners until the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, KillSwitch};
use crate::revocation::Revocation;

/// How often what is due is done.
const INTERVAL: Duration = Duration::from_secs(1);

/// Until the first drill, and after one that could not be.
const SOON: Duration = Duration::from_secs(60);

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
            broker.probe_issuers();
            broker.tend().await;
        }
    })
}

/// Drills the kill switch every so often, by the monotonic clock. The first drill comes soon, so that a broker which is
/// restarted every day drills too.
pub(super) fn drill(
    broker: Arc<Broker>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut wait = every.min(SOON);
        while !stopped_within(wait, &mut stopping).await {
            wait = match broker.drill_by_schedule().await {
                Ok(_) => every,
                Err(error) => {
                    tracing::warn!(%error, "no drill of the kill switch now; it is tried again");
                    every.min(SOON)
                }
            };
        }
    })
}

async fn stopped_within(time: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, stopping.wait_for(|stop| *stop)).await.is_ok()
}
