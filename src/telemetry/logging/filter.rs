//! How much is logged, as people write it: `info`, or `warn,hallpass::identity=debug`.

use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level, or levels of targets, that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogFilter {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn targets(&self) -> Targets {
        targets(&self.0).unwrap_or_default()
    }
}

impl FromStr for LogFilter {
    type Err = String;

    /// A word that is no level would be taken for a target, and what is not named is not logged at all: so a
    /// misspelt level would end the log.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut covers_us = false;
        for directive in text.split(',').map(str::trim) {
            let (target, level) = directive.split_once('=').unwrap_or(("", directive));
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(format!("`{directive}` is no level: off, error, warn, info, debug or trace"));
            }
            if directive.contains('=') && !is_target(target) {
                return Err(format!("`{directive}` has no target before the `=`, such as hallpass"));
            }
            covers_us |= target.is_empty() || is_ours(target);
        }
        if !covers_us {
            return Err(
                "would log nothing of hallpass's own, because it names other targets alone".to_owned()
            );
        }
        targets(text).ok_or_else(|| "is no level and no list of target=level".to_owned())?;
        Ok(Self(text.to_owned()))
    }
}

fn targets(text: &str) -> Option<Targets> {
    text.split(',').map(str::trim).collect::<Vec<_>>().join(",").parse().ok()
}

/// What is logged now. What it decides by is known of each place in the code that logs, so nothing is
/// asked again until it changes.
#[derive(Debug, Clone)]
pub(super) struct FilterInForce(Arc<ArcSwap<Targets>>);

impl FilterInForce {
    pub(super) fn new(filter: &LogFilter) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(filter.targets())))
    }

    pub(super) fn replace(&self, filter: &LogFilter) {
        self.0.store(Arc::new(filter.targets()));
        tracing::callsite::rebuild_interest_cache();
    }

    /// Dependencies are heard from `warn` on, whatever is asked.
    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let may_be_logged = is_ours(metadata.target()) || *metadata.level() <= Level::WARN;
        may_be_logged && self.0.load().would_enable(metadata.target(), metadata.level())
    }
}

impl<S> Filter<S> for FilterInForce {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.takes(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.takes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&**self.0.load())
    }
}

fn is_target(text: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    text.split("::").all(is_name)
}

pub(super) fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_levels_of_targets_are_taken_and_nothing_else() {
        for text in
            ["info", "WARN", "off", "hallpass=debug", "warn, hallpass::telemetry=trace", "info,h2=warn"]
        {
            assert!(
                text.parse::<LogFilter>().is_ok_and(|filter| filter.targets() != Targets::new()),
                "{text}"
            );
        }
        for text in
            ["warning", "verbose", "", "info,", "hallpass", "=info", "hallpass=loud", "3", "hallpas=debug"]
        {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
        let told = "warning".parse::<LogFilter>().unwrap_err();
        assert_eq!(told, "`warning` is no level: off, error, warn, info, debug or trace");
    }
}
