//! What Prometheus reads. No label holds anything that a caller chose.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::identity::IssuerStatus;

type Seconds = Gauge<f64, AtomicU64>;

/// What the listeners and the log tell of themselves.
#[derive(Debug, Default)]
pub struct Served {
    /// The listener, and when its certificate ends.
    pub certificates: Vec<(&'static str, Timestamp)>,
    /// Public connections that are open.
    pub connections: usize,
    /// What unfinished public requests hold, with their connections.
    pub request_memory_bytes: usize,
    /// Public connections that were closed to make room for others, or not taken.
    pub connections_shed: u64,
    pub log_lines_dropped: u64,
}

/// Values that are read when they are asked for.
pub(super) struct Gauges {
    pub(super) revocation_view_age: Duration,
    pub(super) key_age: Duration,
    pub(super) log_size: u64,
    pub(super) registry_rejected: bool,
    pub(super) store_healthy: bool,
    pub(super) unjournaled: usize,
    pub(super) issuers: Vec<IssuerStatus>,
    pub(super) served: Served,
}

type OfIssuer = Family<[(&'static str, String); 1], Gauge>;

pub(super) struct Metrics {
    registry: Registry,
    issued: Counter,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
    journal: Histogram,
    view_age: Seconds,
    key_age: Seconds,
    log_size: Gauge,
    registry_rejected: Gauge,
    store_healthy: Gauge,
    unjournaled: Gauge,
    issuer_keys: OfIssuer,
    issuer_failing: OfIssuer,
    certificate_expiry: Family<[(&'static str, &'static str); 1], Gauge>,
    connections: Gauge,
    request_memory: Gauge,
    connections_shed: Counter,
    log_lines_dropped: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("hallpass");
        let metrics = Self {
            issued: Counter::default(),
            refused: Family::default(),
            // 0.1 ms to 3.3 s.
            journal: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            view_age: Seconds::default(),
            key_age: Seconds::default(),
            log_size: Gauge::default(),
            registry_rejected: Gauge::default(),
            store_healthy: Gauge::default(),
            unjournaled: Gauge::default(),
            issuer_keys: Family::default(),
            issuer_failing: Family::default(),
            certificate_expiry: Family::default(),
            connections: Gauge::default(),
            request_memory: Gauge::default(),
            connections_shed: Counter::default(),
            log_lines_dropped: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("tokens_issued", "Tokens released", metrics.issued.clone());
        registry.register("tokens_refused", "Requests refused, by reason code", metrics.refused.clone());
        let journal = "From a signed token to its durable event";
        registry.register_with_unit("journal", journal, Unit::Seconds, metrics.journal.clone());
        let age = "Age of the local view of revocations";
        registry.register_with_unit("revocation_view_age", age, Unit::Seconds, metrics.view_age.clone());
        let key = "Age of the key that signs now";
        registry.register_with_unit("signing_key_age", key, Unit::Seconds, metrics.key_age.clone());
        registry.register("audit_events", "Events in the audit log", metrics.log_size.clone());
        let rejected = "1 while a change of the agent files is rejected";
        registry.register("registry_rejected", rejected, metrics.registry_rejected.clone());
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
        let expiry = "When the certificate that the listener serves with ends, since the epoch";
        let name = "tls_certificate_expiry_timestamp";
        registry.register_with_unit(name, expiry, Unit::Seconds, metrics.certificate_expiry.clone());
        metrics.register_served(&mut registry);
        Self { registry, ..metrics }
    }

    fn register_served(&self, registry: &mut Registry) {
        registry.register("public_connections", "Open public connections", self.connections.clone());
        let memory = "What unfinished public requests hold, with their connections";
        registry.register_with_unit("request_memory", memory, Unit::Bytes, self.request_memory.clone());
        let shed = "Public connections closed to make room for others, or not taken";
        registry.register("public_connections_shed", shed, self.connections_shed.clone());
        let dropped = "Log lines dropped because nobody read them in time";
        registry.register("log_lines_dropped", dropped, self.log_lines_dropped.clone());
    }

    pub(super) fn issued(&self) {
        self.issued.inc();
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refused.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    pub(super) fn journaled(&self, took: Duration) {
        self.journal.observe(took.as_secs_f64());
    }

    /// The OpenMetrics text.
    pub(super) fn render(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        self.view_age.set(gauges.revocation_view_age.as_secs_f64());
        self.key_age.set(gauges.key_age.as_secs_f64());
        self.log_size.set(i64::try_from(gauges.log_size).unwrap_or(i64::MAX));
        self.registry_rejected.set(i64::from(gauges.registry_rejected));
        self.store_healthy.set(i64::from(gauges.store_healthy));
        self.unjournaled.set(i64::try_from(gauges.unjournaled).unwrap_or(i64::MAX));
        for issuer in &gauges.issuers {
            let label = [("issuer", issuer.name.to_string())];
            let keys = i64::try_from(issuer.keys).unwrap_or(i64::MAX);
            self.issuer_keys.get_or_create(&label).set(keys);
            self.issuer_failing.get_or_create(&label).set(i64::from(issuer.error.is_some()));
        }
        let served = &gauges.served;
        self.connections.set(i64::try_from(served.connections).unwrap_or(i64::MAX));
        self.request_memory.set(i64::try_from(served.request_memory_bytes).unwrap_or(i64::MAX));
        self.connections_shed.inner().store(served.connections_shed, Ordering::Relaxed);
        self.log_lines_dropped.inner().store(served.log_lines_dropped, Ordering::Relaxed);
        for (listener, ends) in &served.certificates {
            self.certificate_expiry.get_or_create(&[("listener", *listener)]).set(ends.seconds());
        }
        let mut text = String::with_capacity(4096);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
