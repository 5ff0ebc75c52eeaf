//! What operators see of a running broker besides its answers: log lines, and the spans they stand in.
//!
//! Knows no layer above, so that each of them can tell of itself.

mod logging;
pub mod span;

pub use logging::start as start_logging;
