//! Logs: JSON lines on standard error, or text for a person at a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging at the level that `HALLPASS_LOG` gives, `info` without it.
pub fn start() {
    let filter = EnvFilter::try_from_env("HALLPASS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, leaves the first in force.
    let _started = if std::io::stderr().is_terminal() { to.try_init() } else { to.json().try_init() };
}
