//! The audit log as the store on this machine has it, beside a serving broker or without one.

use serde_json::value::RawValue;

use crate::app::checkpoint_key;
use crate::cli::args::ConfigArgs;
use crate::cli::check::{environment, explained};
use crate::cli::{Failure, Host, Outcome};
use crate::config::Config;
use crate::domain::checkpoint::{Checkpoint, VerifierKey};
use crate::domain::event::EventFilter;
use crate::store::{Reader, StoreError, StoreSettings};

/// One page of the store.
const PAGE: u32 = 500;

/// The configuration that names the store.
pub(super) fn config(args: &ConfigArgs, host: &mut Host<'_>) -> Outcome<Config> {
    Config::load(&args.config, environment()).or_else(|mistakes| explained(&mistakes, host))
}

/// What reads the store that the settings name.
pub(super) fn open(store: &StoreSettings) -> Outcome<Reader> {
    Reader::open_store(store).map_err(|error| unusable(store, &error, "ask the broker with --admin-url"))
}

/// Why the store cannot be read, and where else the log may be had: `or`.
pub(super) fn unusable(store: &StoreSettings, error: &StoreError, or: &str) -> Failure {
    let failure = Failure::failed(format!("the store: {}", error.at(store)));
    match error {
        StoreError::Damaged(_) => failure.remedy("put a backup in its place: hallpass restore FILE"),
        _ => failure.remedy(format!("name the broker's configuration with --config, or {or}")),
    }
}

/// The newest events that match, as they are stored.
pub(super) fn search(reader: &Reader, filter: &EventFilter, want: u32) -> Outcome<Vec<Box<RawValue>>> {
    let mut events = Vec::new();
    let mut before = None;
    let mut left = want;
    while left > 0 {
        let page = reader.events(filter, left.min(PAGE), before).map_err(anyhow::Error::from)?;
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        for event in page {
            let raw = RawValue::from_string(event.bytes.into());
            events.push(raw.map_err(|_| {
                Failure::failed(format!("event {} is not JSON; run hallpass audit verify", event.seq))
            })?);
        }
    }
    Ok(events)
}

/// The key that signs the log's checkpoints, and the log's name.
pub(super) struct Signer {
    key: ring::signature::Ed25519KeyPair,
    origin: String,
}

impl Signer {
    pub(super) fn of(config: &Config, reader: &Reader) -> Outcome<Self> {
        let unborn = || Failure::failed("the store has no keys yet").remedy("start the broker once");
        let key = checkpoint_key(config, reader)?.ok_or_else(unborn)?;
        let origin = reader.origin().map_err(anyhow::Error::from)?.ok_or_else(unborn)?;
        Ok(Self { key, origin })
    }

    pub(super) fn verifier(&self) -> Outcome<VerifierKey> {
        Ok(VerifierKey::of(&self.origin, &self.key).map_err(anyhow::Error::from)?)
    }

    pub(super) fn checkpoint(&self, reader: &Reader) -> Outcome<String> {
        let head = reader.head().map_err(anyhow::Error::from)?;
        Ok(Checkpoint { origin: self.origin.clone(), size: head.size, root: head.root }.sign(&self.key))
    }
}
