//! A few connections that read, each used by one blocking call at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::sql::Sql;
use crate::store::error::StoreError;

/// More readers at once would only take the processor from those who issue tokens.
const READERS: usize = 4;

/// Where connections that read come from.
pub(in crate::store) trait Source: Send + Sync + 'static {
    type Connection: Send + 'static;

    fn open(&self) -> Result<Self::Connection, StoreError>;

    /// Runs `read` on one state of the database. `is_kept`: the connection was idle and may have ended meanwhile.
    fn read<T>(
        &self,
        connection: &mut Self::Connection,
        is_kept: bool,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>;
}

#[derive(Debug)]
pub(in crate::store) struct Pool<S: Source> {
    source: S,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<S::Connection>>,
    /// Raised by `clear`; a connection of an older generation is not kept.
    generation: AtomicU64,
}

impl<S: Source> Pool<S> {
    pub(in crate::store) fn new(source: S) -> Self {
        let permits = Arc::new(Semaphore::new(READERS));
        Self { source, permits, idle: Mutex::default(), generation: AtomicU64::new(0) }
    }

    /// Runs `read` off the runtime, on one state of the database.
    pub(in crate::store) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.read_now(read)
        });
        done.await.map_err(StoreError::unavailable)?
    }

    pub(in crate::store) fn read_now<T>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let generation = self.generation.load(Ordering::Acquire);
        let idle = self.lock().pop();
        let is_kept = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.source.open()?,
        };
        let value = self.source.read(&mut connection, is_kept, read)?;
        let mut idle = self.lock();
        if generation == self.generation.load(Ordering::Acquire) {
            idle.push(connection);
        }
        Ok(value)
    }

    /// Closes every connection, now or when its call is over.
    pub(in crate::store) fn clear(&self) {
        let mut idle = self.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        idle.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<S::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
