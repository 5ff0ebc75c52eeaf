//! The store in a file, in folders of its own.

mod faults;
mod hits;
mod order;
mod pace;
mod search;
mod signing_keys;
mod start;
mod stops;
mod tail;
mod tamper;

use super::*;
use crate::domain::event::{Event, EventFilter, Kind, Outcome};
use crate::domain::id::StopId;
use crate::domain::revocation::{Revision, Target};
use crate::domain::signing::SealedKey;
use crate::domain::time::Timestamp;
use crate::store::tables::batch::{self, Job};
use crate::store::tables::queue::QUEUE;
use crate::store::tables::{blocks, draft, events, related, tip};
use crate::store::tests::*;
use crate::store::write::Write;
use crate::store::{Difference, Issuance, LiftOutcome, Reader, Store, StoreSettings, Verified, VerifyError};

/// Does `work` on the connection of the writer, in a batch with what else waits.
async fn raw<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let Store::Sqlite(store) = store else { panic!("{store:?}") };
    let (send, value) = std::sync::mpsc::channel();
    let job = move |connection: &dyn std::any::Any| {
        let connection = connection.downcast_ref().expect("SQLite's");
        work(connection).map(|value| drop(send.send(value))).map_err(StoreError::from)
    };
    store.queue().run_raw(Box::new(job)).await.map(|_| value.recv().unwrap())
}
