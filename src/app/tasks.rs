//! What runs beside the listeners until the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, KillSwitch};
use crate::revocation::Revocation;

/// How often what is due is done.
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
            broker.probe_issuers();
            broker.tend().await;
        }
    })
}

async fn stopped_within(time: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, stopping.wait_for(|stop| *stop)).await.is_ok()
}
