//! What the start of this broker owes the audit log: its new keys, its name, its first two events.
//!
//! Nothing is issued before they are durable. A store that cannot be written does not end the start, because without a
//! broker there is no kill switch either: the events wait, and so does every token.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::broker::Broker;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::signing::SealedKey;
use crate::store::StoreError;

/// A key that was made at the start, and its event.
pub type NewKey = (SealedKey, Event);

#[derive(Default)]
pub(super) struct Start {
    owed: tokio::sync::Mutex<Owed>,
    is_owed: AtomicBool,
}

#[derive(Default)]
struct Owed {
    keys: VecDeque<NewKey>,
    events: VecDeque<Event>,
}

impl Broker {
    /// Journals the first events of a broker's life, and of a registry's, after the keys that the store could not take
    /// yet. While it can take none of them, [`Broker::tend`] tries again.
    ///
    /// # Errors
    /// Where the store is not what it should be; not where it cannot be written now.
    pub async fn started(self: &Arc<Self>, keys: Vec<NewKey>) -> Result<(), StoreError> {
        self.kill_switch.note_time_before().await;
        let event = Event {
            detail: Some(format!("{} {}", self.name, env!("CARGO_PKG_VERSION"))),
            ..self.event(Kind::BrokerStarted, Outcome::Done, None)
        };
        let events = [event, self.loaded(&self.registry())].into();
        *self.start.owed.lock().await = Owed { keys: keys.into(), events };
        self.start.is_owed.store(true, Ordering::Release);
        match self.journal_start().await {
            Err(error) if error.is_outage() => {
                tracing::error!(
                    %error,
                    "STARTED WITHOUT THE STORE: no token is issued until it can be written; stops take effect, and wait \
                     for it in a file beside it",
                );
                Ok(())
            }
            journaled => {
                self.begin_to_end_left_drill();
                journaled
            }
        }
    }

    /// Whether the start is not in the log yet, and so no token may be issued.
    pub fn owes_start(&self) -> bool {
        self.start.is_owed.load(Ordering::Acquire)
    }

    /// Journals what the start still owes, in its order.
    pub(super) async fn journal_start(&self) -> Result<(), StoreError> {
        if !self.owes_start() {
            return Ok(());
        }
        let mut owed = self.start.owed.lock().await;
        while let Some((key, event)) = owed.keys.front() {
            // The ring has it already; another node's stands beside it.
            self.keys.keep(key, event).await?;
            owed.keys.pop_front();
        }
        if !owed.events.is_empty() {
            let named = Event::new(self.now(), Kind::LogNamed, Outcome::Done);
            self.store.set_origin(self.audit.origin(), named).await?;
        }
        while let Some(event) = owed.events.front() {
            self.store.append(event.clone()).await?;
            owed.events.pop_front();
        }
        self.start.is_owed.store(false, Ordering::Release);
        tracing::info!("the start of this broker is in the audit log");
        Ok(())
    }
}
