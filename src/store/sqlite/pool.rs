//! A few connections that read, each used by one blocking call at a time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use crate::store::error::StoreError;

/// More readers at once would only take the processor from those who issue tokens.
const READERS: usize = 4;

#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Raised by `clear`; a connection of an older generation is not kept.
    generation: AtomicU64,
}

impl Pool {
    pub(super) fn new(path: PathBuf) -> Self {
        let permits = Arc::new(Semaphore::new(READERS));
        Self { path, permits, idle: Mutex::default(), generation: AtomicU64::new(0) }
    }

    /// Runs `read` off the runtime, on one state of the database.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.read_now(read)
        });
        done.await.map_err(StoreError::unavailable)?
    }

    fn read_now<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let generation = self.generation.load(Ordering::Acquire);
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        let transaction = connection.unchecked_transaction()?;
        let value = read(&transaction)?;
        drop(transaction);
        let mut idle = self.lock();
        if generation == self.generation.load(Ordering::Acquire) {
            idle.push(connection);
        }
        Ok(value)
    }

    /// Closes every connection, now or when its call is over.
    pub(super) fn clear(&self) {
        let mut idle = self.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        idle.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
