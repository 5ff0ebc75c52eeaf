//! What operators see of a running broker besides its answers: metrics, log lines, and the spans they stand in. With the
//! feature `otlp` the spans go to a collector too.
//!
//! Knows no layer above, so that each of them can tell of itself.

mod logging;
mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
mod seldom;
pub mod span;

pub use logging::{
    Log, LogFilter, Spans, register_metrics as register_log_metrics, set_log_filter, start as start_logging,
};
pub use metrics::Metrics;
pub use seldom::Seldom;
