//! The way of spans to the collector: by the one HTTP client.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use url::Url;

use crate::domain::secure::is_secure;
use crate::outbound::{self, Client, Limits, Roots};
use crate::telemetry::otlp::Export;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    total: Some(Duration::from_secs(10)),
    body: 64 * 1024,
    keep_alive: true,
};

/// Exports to `url`, which the variable `name` gave.
pub(super) fn export(name: &str, url: &str, instance: &str, runtime: &Handle) -> anyhow::Result<Export> {
    let parsed: Url = url.parse().with_context(|| format!("{name}: not a URL"))?;
    if !is_secure(&parsed) {
        bail!(
            "{name}: must be https, or http on a loopback host; run a collector on this machine, or give it TLS"
        );
    }
    let roots = if parsed.scheme() == "https" { Roots::System } else { Roots::Nobody };
    let client = Client::new(LIMITS, roots, None).with_context(|| name.to_owned())?;
    let collector = Collector { client, runtime: runtime.clone(), failing: AtomicBool::new(false) };
    Export::new(url, collector, instance).with_context(|| name.to_owned())
}

/// Sends on the broker's runtime: whoever exports is a thread without one.
#[derive(Debug)]
struct Collector {
    client: Client,
    runtime: Handle,
    /// So that a collector that is down is told once and not every five seconds.
    failing: AtomicBool,
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Sending<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let client = self.client.clone();
            let sent = self.runtime.spawn(async move { send(&client, request).await }).await?;
            let failure = match &sent {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("the collector answered {}", response.status())),
                Err(error) => Some(error.to_string()),
            };
            let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
            match failure {
                Some(error) if !failed_before => tracing::warn!(error, "spans are not exported"),
                None if failed_before => tracing::info!("spans are exported again"),
                _ => {}
            }
            sent
        })
    }
}

async fn send(client: &Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.send(outbound::Request::try_from(request)?).await?;
    let body = Bytes::copy_from_slice(&answer.body().await?);
    Ok(Response::builder().status(answer.status()).body(body)?)
}
