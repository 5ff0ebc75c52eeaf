//! What is measured of the public listener's connections.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::room::Room;
use crate::telemetry::Metrics;

/// Registers what the public listener's `room` holds.
pub fn register(metrics: &Metrics, room: Arc<Room>) {
    metrics.register_collector(Held(room));
}

struct Held(Arc<Room>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} connections)", self.0.connections())
    }
}

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(room) = self;
        let open = ConstGauge::new(i64::try_from(room.connections()).unwrap_or(i64::MAX));
        open.encode(encoder.encode_descriptor(
            "public_connections",
            "Open public connections",
            None,
            MetricType::Gauge,
        )?)?;
        let help = "What unfinished public requests hold, with their connections";
        let memory = ConstGauge::new(i64::try_from(room.memory()).unwrap_or(i64::MAX));
        memory.encode(encoder.encode_descriptor(
            "request_memory",
            help,
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?)?;
        let help = "Public connections closed to make room for others, or not taken";
        let shed = ConstCounter::new(room.shed());
        shed.encode(encoder.encode_descriptor("public_connections_shed", help, None, MetricType::Counter)?)
    }
}
