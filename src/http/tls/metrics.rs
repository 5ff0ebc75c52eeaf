//! What is measured of the listeners' certificates.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Tls;
use crate::telemetry::Metrics;

/// Registers when the certificates end that the listeners serve with.
pub fn register(metrics: &Metrics, listeners: Arc<[Arc<Tls>]>) {
    metrics.register_collector(Expiry(listeners));
}

struct Expiry(Arc<[Arc<Tls>]>);

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|tls| tls.expiry())).finish()
    }
}

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let help = "When the certificate that the listener serves with ends, since the epoch";
        let name = "tls_certificate_expiry_timestamp";
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for tls in self.0.iter() {
            let (listener, ends) = tls.expiry();
            let gauge = ConstGauge::new(ends.seconds());
            gauge.encode(family.encode_family(&[("listener", listener)])?)?;
        }
        Ok(())
    }
}
