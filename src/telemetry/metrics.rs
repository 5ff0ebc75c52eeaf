//! The metrics of one broker, registered by whichever layer they are of.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::{Metric, Registry, Unit};

/// Where a layer registers its metrics. It keeps the handles that it counts by, which are cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("hallpass"))))
    }

    /// Adds `metric` as `hallpass_<name>`, with the unit after it where there is one. No label of it may hold anything
    /// that a caller chose.
    pub fn register(&self, name: &str, help: &str, unit: Option<Unit>, metric: impl Metric) {
        self.with(|registry| match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, metric),
            None => registry.register(name, help, metric),
        });
    }

    /// Adds values that are found out when they are asked for.
    pub fn register_collector(&self, collector: impl Collector) {
        self.with(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Writes what is registered here after `text`, and the end of the OpenMetrics document.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn complete(&self, text: &mut String) -> fmt::Result {
        self.with(|registry| encode_registry(text, registry))?;
        encode_eof(text)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        // A registry is whole between any two calls of it.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn layers_register_beside_one_another_and_the_document_ends_once() {
        let metrics = Metrics::new();
        let (dropped, held) = (Counter::<u64>::default(), Counter::<u64>::default());
        metrics.register("log_lines_dropped", "Lines", None, dropped.clone());
        metrics.clone().register("held", "Bytes", Some(Unit::Bytes), held);
        dropped.inc_by(3);
        let mut text = "# HELP before\n".to_owned();
        metrics.complete(&mut text).unwrap();
        for line in
            ["# HELP before", "hallpass_log_lines_dropped_total 3", "hallpass_held_bytes_total 0", "# EOF"]
        {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
