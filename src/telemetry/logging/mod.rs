//! Logs: JSON lines on standard error, or text for a person at a terminal.
//!
//! What hallpass logs it words itself, without secrets. What its dependencies log is theirs to word, and
//! at `trace` that is whole frames with tokens in them; so they are heard from `warn` on, whatever
//! the configuration asks for. Whoever logs never waits for the reader of the log (see `queue`).

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
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

pub use filter::LogFilter;
use queue::Queue;

use crate::telemetry::Metrics;

/// Where else than into the log spans go.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// The log is the program's, and so is the count of the lines that it lost.
static DROPPED: OnceLock<Arc<AtomicU64>> = OnceLock::new();

/// How much of it is written.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

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
    if let Some(handle) = FILTER.get() {
        // Fails only where the log itself is gone.
        let _gone = handle.reload(filter.to_filter());
    }
}

/// Starts logging as `filter` says. Spans go to `spans` too, whatever that is.
///
/// # Errors
/// When the thread that writes cannot be started.
pub fn start(filter: &LogFilter, spans: Option<Spans>) -> io::Result<Log> {
    let (filter, handle) = reload::Layer::new(filter.to_filter());
    let for_a_person = std::io::stderr().is_terminal();
    let queue = Queue::start(std::io::stderr(), move |dropped| lines_dropped(dropped, for_a_person))?;
    let log = layer(filter, queue.clone(), for_a_person);
    let spans = spans.map(|spans| {
        spans.with_filter(filter_fn(may_be_exported).with_max_level_hint(LevelFilter::INFO)).boxed()
    });
    let layers: Vec<Spans> = std::iter::once(log).chain(spans).collect();
    // A second start, as in tests, leaves the first in force.
    if tracing_subscriber::registry().with(layers).try_init().is_ok() {
        let _first = FILTER.set(handle);
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
    let layer = layer(EnvFilter::new("warn"), move || writer.clone(), for_a_person);
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

fn layer<F, W>(filter: F, to: W, for_a_person: bool) -> Spans
where
    F: Filter<Registry> + Send + Sync + 'static,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let ours = filter_fn(may_be_logged).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(ours);
    if for_a_person {
        quiet(fmt::layer()).with_writer(to).with_filter(filter).boxed()
    } else {
        // There is one span, the request's: a list of spans would repeat it.
        quiet(fmt::layer()).json().with_span_list(false).with_writer(to).with_filter(filter).boxed()
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

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::WARN
}

fn may_be_exported(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) && *metadata.level() <= Level::INFO
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"))
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
    use super::*;

    fn logged(filter: &str, log: impl FnOnce()) -> String {
        let to = Lines::default();
        let writer = to.clone();
        let layer = layer(EnvFilter::new(filter), move || writer.clone(), false);
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
        let layer = layer(EnvFilter::new("trace"), || Broken, false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!("lost");
        });
    }
}
