//! Starts logging and, with the feature `otlp`, the export of spans.

use std::ffi::OsString;

use anyhow::Context;
use tokio::runtime::Handle;

use crate::telemetry::{Log, LogFilter, start_logging};

const LOG: &str = "cannot start the log";

/// The collector's URL for traces, and that of all it takes: the names that OpenTelemetry gives them.
const ENDPOINTS: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/traces")];

/// Logging, and whatever else tells of a running broker.
#[derive(Debug)]
pub struct Telemetry {
    log: Log,
    #[cfg(feature = "otlp")]
    export: Option<crate::telemetry::otlp::Export>,
}

impl Telemetry {
    /// Starts it for the broker called `instance`, and logs what `filter` lets through. Spans go to the collector that `environment` names, if it names one.
    ///
    /// # Errors
    /// When that is no address that hallpass sends to, or the log cannot be started.
    #[cfg(feature = "otlp")]
    pub fn start(
        environment: &dyn Fn(&str) -> Option<OsString>,
        filter: &LogFilter,
        instance: &str,
        runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let export = match endpoint(environment) {
            Some((name, url)) => Some(super::otlp::export(name, &url, instance, runtime)?),
            None => None,
        };
        let log =
            start_logging(filter, export.as_ref().map(crate::telemetry::otlp::Export::spans)).context(LOG)?;
        Ok(Self { log, export })
    }

    /// Starts it for the broker called `instance`.
    ///
    /// # Errors
    /// When the log cannot be started.
    #[cfg(not(feature = "otlp"))]
    pub fn start(
        environment: &dyn Fn(&str) -> Option<OsString>,
        filter: &LogFilter,
        _instance: &str,
        _runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let log = start_logging(filter, None).context(LOG)?;
        if let Some((name, _)) = endpoint(environment) {
            tracing::warn!(
                "{name} is set, and this hallpass was built without the feature otlp: no spans are exported"
            );
        }
        Ok(Self { log })
    }

    /// Sends what is left. Blocks.
    pub fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(Err(error)) = self.export.map(crate::telemetry::otlp::Export::finish) {
            tracing::warn!(%error, "the last spans were not exported");
        }
        drop(self.log);
    }
}

/// The variable that names the collector, and where its traces go.
fn endpoint(environment: &dyn Fn(&str) -> Option<OsString>) -> Option<(&'static str, String)> {
    ENDPOINTS.into_iter().find_map(|(name, path)| {
        let url = environment(name).filter(|url| !url.is_empty())?;
        let url = url.to_string_lossy();
        Some((
            name,
            if path.is_empty() { url.into_owned() } else { format!("{}{path}", url.trim_end_matches('/')) },
        ))
    })
}
