//! Spans to an OpenTelemetry collector: OTLP, protobuf over HTTP.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer as _;

use super::Spans;

/// What the end of the broker waits for the last spans to go out.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Gathers the spans that ended and exports them from a thread of its own. What does not fit into its queue is
/// dropped: no request waits for a collector.
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Exports to `endpoint`, the collector's full URL for traces, through `client`. `instance` is the broker's name.
    ///
    /// # Errors
    /// In words of the exporter's own, when one of its `OTEL_` variables makes no sense.
    pub fn new(
        endpoint: &str,
        client: impl HttpClient + 'static,
        instance: &str,
    ) -> Result<Self, opentelemetry_otlp::ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .build()?;
        let instance = opentelemetry::KeyValue::new("service.instance.id", instance.to_owned());
        let resource = Resource::builder().with_service_name("hallpass").with_attribute(instance).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        Ok(Self(provider.build()))
    }

    /// What spans go through on their way.
    pub fn spans(&self) -> Spans {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("hallpass")).with_threads(false).boxed()
    }

    /// Sends what is left. Blocks, for two seconds at most.
    ///
    /// # Errors
    /// When the last spans could not be sent.
    pub fn finish(self) -> Result<(), opentelemetry_sdk::error::OTelSdkError> {
        self.0.shutdown_with_timeout(LAST_SPANS)
    }
}
