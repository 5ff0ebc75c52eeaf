//! The store in an SQLite file, for one broker.
//!
//! One thread writes; a lock file holds other processes off. Whoever reads has a connection of its own.

mod at_rest;
mod copy;
mod files;
mod mark;
mod reader;
mod schema;
mod sql;
mod tables;
mod upgrade;
mod wal;
mod writer;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(in crate::store) use copy::{copy_file, sync};
pub(in crate::store) use files::{failed, lock, real_name, set_log_aside};
pub(in crate::store) use reader::File;
use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::settings::Missing;
use crate::store::tables::pool::{Pool, Source};
use crate::store::tables::published::Published;
use crate::store::tables::queue::Queue;
use crate::store::tables::sql::Sql;
use writer::Writer;

/// A store in one file, of which this process is the only writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Sqlite(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue,
    published: Arc<Published>,
    pool: Arc<Pool<Database>>,
    /// Random at each opening.
    instance: u64,
}

/// The database file, for those who read.
#[derive(Debug)]
pub(in crate::store) struct Database(PathBuf);

impl Source for Database {
    type Connection = Connection;

    fn open(&self) -> Result<Connection, StoreError> {
        schema::open_reader(&self.0)
    }

    fn read<T>(
        &self,
        connection: &mut Connection,
        _is_kept: bool,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        read(&*connection.unchecked_transaction()?)
    }
}

impl Sqlite {
    /// Opens the store for writing and makes it where there is none: folders 0700, files 0600.
    ///
    /// # Errors
    /// `Locked` while another broker writes to it, `Newer` or `Foreign` for a file that is not of this
    /// version, `Damaged` where the ends of the log contradict each other, `Lost` for one that is gone and must not be
    /// made anew, `File` for the rest; `Unavailable` for a new
    /// database that cannot be made. One that is there and cannot be written is opened with a fault.
    pub async fn open(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let writer = Writer::open(&path, missing)?;
            let (published, pool) = (writer.published(), writer.pool());
            let queue = Queue::start(move |waiting| writer.run(waiting))?;
            let instance = RandomState::new().hash_one(std::process::id());
            Ok(Self(Arc::new(Inner { queue, published, pool, instance })))
        });
        opening.await.map_err(StoreError::unavailable)?
    }

    pub(in crate::store) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    pub(in crate::store) fn published(&self) -> &Published {
        &self.0.published
    }

    pub fn instance(&self) -> String {
        format!("{:016x}", self.0.instance)
    }

    /// Off the runtime, on one state of the database.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.pool.read(read).await
    }
}

#[cfg(test)]
mod tests;
