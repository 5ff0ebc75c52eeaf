//! One fetch at a time, and what came of the last.

use std::sync::Arc;

use super::{Document, PublishedKeys};
use crate::domain::time::Timestamp;
use crate::identity::fetch::FetchError;

#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    pub(super) running: bool,
    pub(super) last: Option<Timestamp>,
    pub(super) last_for_kid: Option<Timestamp>,
    pub(super) error: Option<String>,
    /// How many failed since the last that did not.
    pub(super) failures: u32,
}

/// What starts a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Age,
    UnknownKid,
}

/// A running fetch. When it ends, however it ends, another may start.
pub(super) struct Fetch<D: Document>(pub(super) Arc<PublishedKeys<D>>);

impl<D: Document> Fetch<D> {
    pub(super) async fn run(self) {
        let keys = &self.0;
        let outcome = keys.fetch().await.and_then(|document| {
            let set = D::parse(&document)?;
            if let Some(held) = keys.current.load().as_ref() {
                set.succeeds(&held.keys)?;
            }
            Ok(set)
        });
        let error = match outcome {
            Ok(set) => {
                if set.count() == 0 {
                    tracing::warn!(issuer = %keys.name, "the issuer publishes no usable key");
                }
                keys.replace(set);
                None
            }
            Err(error) => Some(describe(&error)),
        };
        let mut attempts = keys.attempts();
        match (&error, &attempts.error) {
            // Once, not at every retry.
            (Some(error), before) if before.as_ref() != Some(error) => {
                tracing::warn!(issuer = %keys.name, error, "fetching the issuer's keys failed");
            }
            (None, Some(_)) => tracing::info!(issuer = %keys.name, "the issuer's keys are fetched again"),
            _ => {}
        }
        attempts.failures = if error.is_some() { attempts.failures.saturating_add(1) } else { 0 };
        attempts.error = error;
    }
}

impl<D: Document> Drop for Fetch<D> {
    fn drop(&mut self) {
        self.0.attempts().running = false;
        self.0.ended.send_modify(|count| *count += 1);
    }
}

/// An error with what lies beneath: the Workload API's own text ends at «transport error».
fn describe(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
