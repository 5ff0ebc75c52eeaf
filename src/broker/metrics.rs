//! What Prometheus reads of the broker. No label holds anything that a caller chose.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::identity::IssuerStatus;

type Seconds = Gauge<f64, AtomicU64>;

/// Values that are read when they are asked for.
pub(super) struct Gauges {
    pub(super) revocation_view_age: Duration,
    pub(super) key_age: Duration,
    pub(super) log_size: u64,
    pub(super) registry_rejected: bool,
    pub(super) configuration_rejected: bool,
    pub(super) store_healthy: bool,
    pub(super) unjournaled: usize,
    pub(super) issuers: Vec<IssuerStatus>,
}

/// Nothing before the first drill.
type OfDrill = Family<[(&'static str, &'static str); 1], Seconds>;

type OfIssuer = Family<[(&'static str, String); 1], Gauge>;

pub(super) struct Metrics {
    registry: Registry,
    issued: Counter,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
    journal: Histogram,
    clock_steps: Counter,
    view_age: Seconds,
    key_age: Seconds,
    log_size: Gauge,
    registry_rejected: Gauge,
    configuration_rejected: Gauge,
    store_healthy: Gauge,
    unjournaled: Gauge,
    issuer_keys: OfIssuer,
    issuer_failing: OfIssuer,
    drill_time: OfDrill,
    drill_slowest: OfDrill,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("hallpass");
        let metrics = Self {
            issued: Counter::default(),
            refused: Family::default(),
            // 0.1 ms to 3.3 s.
            journal: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            clock_steps: Counter::default(),
            view_age: Seconds::default(),
            key_age: Seconds::default(),
            log_size: Gauge::default(),
            registry_rejected: Gauge::default(),
            configuration_rejected: Gauge::default(),
            store_healthy: Gauge::default(),
            unjournaled: Gauge::default(),
            issuer_keys: Family::default(),
            issuer_failing: Family::default(),
            drill_time: Family::default(),
            drill_slowest: Family::default(),
            registry: Registry::default(),
        };
        registry.register("tokens_issued", "Tokens released", metrics.issued.clone());
        registry.register("tokens_refused", "Requests refused, by reason code", metrics.refused.clone());
        let journal = "From a signed token to its durable event";
        registry.register_with_unit("journal", journal, Unit::Seconds, metrics.journal.clone());
        let steps = "How often the wall clock was set by more than 5 s";
        registry.register("clock_steps", steps, metrics.clock_steps.clone());
        let age = "Age of the local view of revocations";
        registry.register_with_unit("revocation_view_age", age, Unit::Seconds, metrics.view_age.clone());
        let key = "Age of the key that signs now";
        registry.register_with_unit("signing_key_age", key, Unit::Seconds, metrics.key_age.clone());
        registry.register("audit_events", "Events in the audit log", metrics.log_size.clone());
        let rejected = "1 while a change of the agent files is rejected";
        registry.register("registry_rejected", rejected, metrics.registry_rejected.clone());
        let rejected = "1 while a change of the configuration is rejected";
        registry.register("configuration_rejected", rejected, metrics.configuration_rejected.clone());
        registry.register(
            "store_healthy",
            "1 while the audit log can be written",
            metrics.store_healthy.clone(),
        );
        let waiting = "Stops in effect that are not yet in the audit log";
        registry.register("stops_unjournaled", waiting, metrics.unjournaled.clone());
        let keys = "Keys at hand of each issuer and trust domain";
        registry.register("issuer_keys", keys, metrics.issuer_keys.clone());
        let failing = "1 while the keys of the issuer or trust domain cannot be fetched";
        registry.register("issuer_fetch_failing", failing, metrics.issuer_failing.clone());
        let time = "When this broker's last drill of the kill switch ended, by its outcome; Unix time";
        registry.register_with_unit("drill_timestamp", time, Unit::Seconds, metrics.drill_time.clone());
        let slowest =
            "How long the slowest took to confirm in that drill; of one that failed, until it was given up";
        registry.register_with_unit("drill_slowest", slowest, Unit::Seconds, metrics.drill_slowest.clone());
        Self { registry, ..metrics }
    }

    pub(super) fn issued(&self) {
        self.issued.inc();
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refused.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    pub(super) fn clock_stepped(&self) {
        self.clock_steps.inc();
    }

    /// A drill ended at `at`, and the slowest took so long to confirm.
    pub(super) fn drilled(&self, passed: bool, at: Timestamp, slowest: Duration) {
        let outcome = [("outcome", if passed { "passed" } else { "failed" })];
        self.drill_time.get_or_create(&outcome).set(at.seconds() as f64);
        self.drill_slowest.get_or_create(&outcome).set(slowest.as_secs_f64());
    }

    pub(super) fn journaled(&self, took: Duration) {
        self.journal.observe(took.as_secs_f64());
    }

    /// The OpenMetrics text, without its end.
    pub(super) fn render(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        self.view_age.set(gauges.revocation_view_age.as_secs_f64());
        self.key_age.set(gauges.key_age.as_secs_f64());
        self.log_size.set(i64::try_from(gauges.log_size).unwrap_or(i64::MAX));
        self.registry_rejected.set(i64::from(gauges.registry_rejected));
        self.configuration_rejected.set(i64::from(gauges.configuration_rejected));
        self.store_healthy.set(i64::from(gauges.store_healthy));
        self.unjournaled.set(i64::try_from(gauges.unjournaled).unwrap_or(i64::MAX));
        // Of issuers that were taken out nothing is told any more.
        self.issuer_keys.clear();
        self.issuer_failing.clear();
        for issuer in &gauges.issuers {
            let label = [("issuer", issuer.name.to_string())];
            let keys = i64::try_from(issuer.keys).unwrap_or(i64::MAX);
            self.issuer_keys.get_or_create(&label).set(keys);
            self.issuer_failing.get_or_create(&label).set(i64::from(issuer.error.is_some()));
        }
        let mut text = String::with_capacity(4096);
        encode_registry(&mut text, &self.registry)?;
        Ok(text)
    }
}
