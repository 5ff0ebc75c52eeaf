//! One connection to PostgreSQL, driven by the thread that uses it. Blocking.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use super::connect::connect;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::settings::PostgresSettings;
use crate::store::tables::sql::Sql;

/// Longer than any statement may take (`statement_timeout`), so that it is the server that ends one.
const LATE: Duration = Duration::from_secs(11);

/// A transaction that sees one state of the store and writes nothing.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// After an error it is given up: whatever the transaction did is undone with it.
#[derive(Debug)]
pub(in crate::store) struct Session {
    client: Client,
    /// Of this connection alone: nothing that the broker's other threads do makes it wait. None once it is dropped.
    runtime: Option<Runtime>,
    statements: RefCell<HashMap<Box<str>, Statement>>,
}

impl Session {
    /// # Errors
    /// `Refused` for what can never work; `Unavailable` while no server can be reached that takes writes.
    pub(super) fn open(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StoreError::unavailable)?;
        let (client, connection) = runtime.block_on(connect(settings)).map_err(|error| {
            if error.is_mistake() {
                StoreError::Refused(error.to_string().into())
            } else {
                StoreError::unavailable(error)
            }
        })?;
        // It ends with an error that each statement gets, too.
        runtime.spawn(async move { drop(connection.await) });
        Ok(Self { client, runtime: Some(runtime), statements: RefCell::default() })
    }

    /// On one state of the database.
    pub(in crate::store) fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run(SNAPSHOT)?;
        self.end(read)
    }

    /// Reads within the transaction that was begun, and ends it.
    pub(super) fn end<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, E>,
    ) -> Result<T, E> {
        let value = read(self);
        let ended = self.run("ROLLBACK");
        let value = value?;
        ended?;
        Ok(value)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for what was asked.
    pub(super) fn wait<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Closed)?;
        runtime
            .block_on(async { timeout(LATE, asked).await })
            .map_err(|_| StoreError::unavailable("PostgreSQL does not answer"))?
            .map_err(|error| unavailable(&error))
    }

    /// Runs statements without values.
    pub(super) fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Begins a transaction with the row that it locks.
    pub(super) fn begin_locked(
        &self,
        sql: &str,
        read: impl FnOnce(&dyn Sql, &str) -> Result<HeadRow, StoreError>,
    ) -> Result<HeadRow, StoreError> {
        // Prepared before, so that the lock is not held meanwhile.
        self.statement(sql)?;
        self.run("BEGIN")?;
        read(self, sql)
    }

    /// Ends the sessions of nodes that stopped or were cut off in the middle of what they sent, which may hold the lock of
    /// the head: no timeout of PostgreSQL ends those.
    pub(super) fn end_stuck(&self) -> Result<(), StoreError> {
        let stuck = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user
            AND application_name = 'hallpass' AND state = 'active' AND wait_event = 'ClientRead'
            AND query_start < now() - interval '6 s'";
        self.run(stuck)
    }

    /// A statement of the shared code, which is prepared once.
    pub(super) fn statement(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client.prepare(&sql.replace('?', "$")))?;
        self.statements.borrow_mut().insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

/// Dropping a runtime waits for its threads, which is not allowed everywhere. This one has none of its own.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the server said, without the values that it may repeat in a detail.
fn unavailable(error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(refusal) => {
            let (message, code) = (refusal.message(), refusal.code().code());
            StoreError::unavailable(format!("PostgreSQL: {message} (SQLSTATE {code})"))
        }
        None => StoreError::unavailable(format!("the connection to PostgreSQL failed: {error}")),
    }
}
