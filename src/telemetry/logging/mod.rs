//! Logs: JSON lines on standard error, or text for a person at a terminal.
//!
//! What hallpass logs it words itself, without secrets. What its dependencies log is theirs to word, and
//! at `trace` that is whole frames with tokens in them; so they are heard from `warn` on, whatever
//! the configuration asks for. Whoever logs never waits for the reader of the log (see `queue`).

mod fields;
mod filter;
mod queue;

use std::io::{self, IsTerminal, Write};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use fields::SpanFields;
use filter::FilterInForce;
pub use filter::LogFilter;
use queue::Queue;

use crate::telemetry::Metrics;

/// Where else than into the log spans go.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// The log is the program's, and so is the count of the lines that it lost.
static DROPPED: OnceLock<Arc<AtomicU64>> = OnceLock::new();

/// How much of it is written.
static FILTER: OnceLock<FilterInForce> = OnceLock::new();

/// Registers how many log lines were dropped because nobody read them in time.
pub fn register_metrics(metrics: &Metrics) {
    let dropped = DROPPED.get().cloned().unwrap_or_default();
    metrics.register_collector(Dropped(dropped));
}

#[derive(Debug)]
struct Dropped(Arc<AtomicU64>);

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Log lines dropped because nobody read them in time";
        let counter = ConstCounter::new(self.0.load(Ordering::Relaxed));
        counter.encode(encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?)
    }
}

/// The log of this program. Dropping it waits up to a second for the last lines to be written.
pub struct Log(Queue);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Logs as `filter` says from now on. Does nothing before the start.
pub fn set_log_filter(filter: &LogFilter) {
    if let Some(in_force) = FILTER.get() {
        in_force.replace(filter);
    }
}

/// Starts logging as `filter` says. Spans go to `spans` too, whatever that is.
///
/// # Errors
/// When the thread that writes cannot be started.
pub fn start(filter: &LogFilter, spans: Option<Spans>) -> io::Result<Log> {
    let filter = FilterInForce::new(filter);
    let for_a_person = std::io::stderr().is_terminal();
    let queue = Queue::start(std::io::stderr(), move |dropped| lines_dropped(dropped, for_a_person))?;
    let log = layer(filter.clone(), queue.clone(), for_a_person);
    let spans = spans.map(|spans| {
        spans.with_filter(filter_fn(may_be_exported).with_max_level_hint(LevelFilter::INFO)).boxed()
    });
    let layers: Vec<Spans> = std::iter::once(log).chain(spans).collect();
    // A second start, as in tests, leaves the first in force.
    if tracing_subscriber::registry().with(layers).try_init().is_ok() {
        let _first = FILTER.set(filter);
    }
    let _first = DROPPED.set(queue.dropped());
    std::panic::set_hook(Box::new(|panic| panicked(panic.location())));
    Ok(Log(queue))
}

/// The line that tells how many were dropped, in the form of the others. It does not go through the queue, where it
/// could be dropped itself.
fn lines_dropped(count: u64, for_a_person: bool) -> Vec<u8> {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = layer(FilterInForce::new(&LogFilter::default()), move || writer.clone(), for_a_person);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::warn!(count, "log lines were dropped, because the reader of the log does not keep up");
    });
    lines.take()
}

/// Lines in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn layer<W>(filter: FilterInForce, to: W, for_a_person: bool) -> Spans
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    if for_a_person {
        quiet(fmt::layer()).with_writer(to).with_filter(filter).boxed()
    } else {
        // There is one span, the request's: a list of spans would repeat it.
        let layer = quiet(fmt::layer()).json().with_span_list(false).fmt_fields(SpanFields);
        layer.with_writer(to).with_filter(filter).boxed()
    }
}

/// A log that cannot be written, on a full disk or to a reader that is gone, must not end a call: what
/// tells of it by default does so on standard error too, and panics there.
fn quiet<S>(layer: fmt::Layer<S>) -> fmt::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    layer.log_internal_errors(false)
}

fn may_be_exported(metadata: &Metadata<'_>) -> bool {
    filter::is_ours(metadata.target()) && *metadata.level() <= Level::INFO
}

/// Tells where, and not what: the words of a panic may hold what a caller sent (law 7).
fn panicked(place: Option<&Location<'_>>) {
    match place {
        Some(place) => tracing::error!(file = place.file(), line = place.line(), "panic"),
        None => tracing::error!("panic"),
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::Empty;

    use super::*;

    fn logged(filter: &str, log: impl FnOnce()) -> String {
        let to = Lines::default();
        let writer = to.clone();
        let filter = FilterInForce::new(&filter.parse().unwrap());
        let layer = layer(filter, move || writer.clone(), false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        String::from_utf8(to.take()).unwrap()
    }

    #[test]
    fn dependencies_are_heard_from_warn_on_whatever_is_asked() {
        for filter in ["trace", "warn,h2=trace,hallpass=trace", "trace,hyper=trace"] {
            let text = logged(filter, || {
                tracing::trace!(target: "hallpass::telemetry", "ours");
                tracing::trace!(target: "h2::codec::framed_read", "canary-trace");
                tracing::info!(target: "redis", "canary-info");
                tracing::info!(target: "hallpassenger", "canary-namesake");
                tracing::warn!(target: "hyper", "theirs");
            });
            assert!(text.contains("ours") && text.contains("theirs"), "{filter}: {text}");
            assert!(!text.contains("canary"), "{filter}: {text}");
        }
        assert!(
            !logged("info", || tracing::debug!(target: "hallpass::telemetry", "canary")).contains("canary")
        );
    }

    #[test]
    fn the_fields_of_a_span_are_in_each_line_as_json() {
        let text = logged("info", || {
            let kind = "GET \"\\\n\u{7}ü/";
            let span = tracing::error_span!("request", kind, n = 3, yes = true, agent = Empty, more = Empty);
            let _in = span.enter();
            tracing::info!("before");
            span.record("agent", "a\"b");
            span.record("more", tracing::field::debug("c"));
            tracing::info!("after");
            tracing::error_span!("bare", late = Empty).in_scope(|| {
                tracing::Span::current().record("late", -1);
                tracing::info!("bare");
            });
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kind = "GET \"\\\n\u{7}ü/";
        let before = serde_json::json!({"name": "request", "kind": kind, "n": 3, "yes": true});
        assert_eq!(lines[0]["span"], before);
        let after = serde_json::json!({
            "name": "request", "kind": kind, "n": 3, "yes": true, "agent": "a\"b", "more": "\"c\""
        });
        assert_eq!(lines[1]["span"], after);
        assert_eq!(lines[2]["span"], serde_json::json!({"name": "bare", "late": -1}));
    }

    #[test]
    fn a_filter_that_is_replaced_takes_effect_at_once() {
        let filter = FilterInForce::new(&"warn".parse().unwrap());
        let (to, in_force) = (Lines::default(), filter.clone());
        let writer = to.clone();
        let layer = layer(filter, move || writer.clone(), false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for (level, what) in [("warn", "first"), ("info", "second"), ("off", "third"), ("info", "last")] {
                in_force.replace(&level.parse().unwrap());
                tracing::info!("{what}");
            }
        });
        let text = String::from_utf8(to.take()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("second") && lines[1].contains("last"), "{text}");
    }

    #[test]
    fn lines_that_were_dropped_are_told_in_the_form_of_the_others() {
        let line: serde_json::Value = serde_json::from_slice(&lines_dropped(7, false)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["count"]), (&"WARN".into(), &7.into()));
        assert!(String::from_utf8(lines_dropped(7, true)).unwrap().contains("count=7"));
    }

    #[test]
    fn a_panic_is_logged_without_its_words() {
        let text = logged("info", || panicked(Some(Location::caller())));
        assert!(text.contains("logging/mod.rs") && text.contains("\"panic\""), "{text}");
    }

    /// A reader that is gone, or a full disk.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_ends_nothing() {
        let filter = FilterInForce::new(&"trace".parse().unwrap());
        let layer = layer(filter, || Broken, false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!("lost");
        });
    }
}
