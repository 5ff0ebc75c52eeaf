//! `hallpass serve`: the broker, until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{Ambient, App, GivenUp, Telemetry};
use crate::cli::args::ServeArgs;
use crate::cli::check::checked;
use crate::cli::{Failure, Host, Outcome};

/// # Errors
/// When the configuration has a mistake, or a part of the broker cannot start.
pub fn run(args: &ServeArgs, host: &mut Host<'_>) -> Outcome {
    let checked = checked(&args.config.config, host)?;
    let ambient = Ambient { clock: host.clock.clone(), random: host.random.clone(), store: None };
    let given_up = GivenUp { store: args.new_store, signing_keys: args.new_signing_keys };
    // It waits for the order to stop alone, and sends spans: the broker has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start an event loop: {error}")))?;
    let telemetry = Telemetry::start(
        host.env,
        &checked.config.log,
        checked.config.broker_name.as_str(),
        runtime.handle(),
    )?;
    for warning in &checked.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let served: anyhow::Result<()> = runtime.block_on(async {
        // Asked for first, so that an order to stop during the start is not lost.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // What else is asked for ends nothing: a signal that nobody takes would kill.
        let others = [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()];
        let _ignored = others.map(signal);
        let app = App::start_without(given_up, checked, ambient).await?;
        let (public, admin) = (app.public, app.admin);
        if app.waits_for_store() {
            tracing::error!(%public, %admin, "listening, but not ready: the store cannot be written");
        } else {
            tracing::info!(%public, %admin, "ready");
        }
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => break,
                _ = hangup.recv() => app.reload(),
            }
        }
        tracing::info!("stopping");
        app.stop().await
    });
    telemetry.finish();
    // Its threads may wait for a disk that stalls.
    runtime.shutdown_background();
    Ok(served?)
}
