//! The audit log, in the store of this machine or behind a broker.

use serde_json::value::RawValue;

use super::{PAGE, SourceArgs, local, query};
use crate::cli::client::{Client, wait};
use crate::cli::{Host, Outcome};
use crate::domain::event::EventFilter;
use crate::store::Reader;

/// The log, wherever it is.
pub(super) enum Log {
    Store(Reader),
    Broker(Client),
}

impl Log {
    pub(super) fn open(source: &SourceArgs, host: &mut Host<'_>) -> Outcome<Self> {
        match &source.admin_url {
            None => {
                let config = local::config(&source.config, host)?;
                local::open(&config.store).map(Self::Store)
            }
            Some(url) => source.key.connect(url, host).map(Self::Broker),
        }
    }

    /// The newest `want` events that match, the newest first.
    pub(super) fn newest(&self, filter: &EventFilter, want: u32) -> Outcome<Vec<Box<RawValue>>> {
        match self {
            Self::Store(reader) => local::search(reader, filter, want),
            Self::Broker(client) => {
                let mut asked = query(filter);
                asked.push(("limit", want.min(PAGE).to_string()));
                let want = usize::try_from(want).unwrap_or(usize::MAX);
                wait(client.list("/v1/audit/events", &asked, "events", want))
            }
        }
    }
}
