//! `[limits]`, after `config` has checked it.

use std::num::NonZeroU32;

/// Rates a minute, with bursts up to as many. None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of one agent; its own file may set less.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Refusals of one source address.
    pub refusals_per_minute: Option<NonZeroU32>,
    /// Events of refusals of strangers, from all addresses together.
    pub refusal_events_per_minute: Option<NonZeroU32>,
}
