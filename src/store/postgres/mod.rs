//! The store in PostgreSQL, for any number of nodes.
//!
//! Each node has a thread that writes, which is the only one to hold a connection open for it, and a few connections that
//! read. The head's row is locked for each batch, which gives the events of all nodes one order.

mod connect;
mod connect_error;
mod schema;
#[cfg(test)]
#[expect(dead_code, reason = "some of it is for the tests of the whole program, which include it too")]
#[path = "../../../tests/it/support/postgres.rs"]
pub(in crate::store) mod server;
mod session;
mod sql;
#[cfg(test)]
pub(in crate::store) mod tests;
mod tls;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::error::StoreError;
use crate::store::settings::PostgresSettings;
use crate::store::tables::pool::{Pool, Source};
use crate::store::tables::published::Published;
use crate::store::tables::queue::Queue;
use crate::store::tables::rows::Journal;
use crate::store::tables::sql::Sql;
use crate::store::tables::tip::head_of;
use session::SNAPSHOT;
pub(in crate::store) use session::Session;
use writer::{LOCKED_HEAD, Writer};

/// How long a start waits for PostgreSQL.
const START: Duration = Duration::from_secs(20);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);

/// A store that several nodes write to. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Postgres(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue,
    published: Arc<Published>,
    pool: Arc<Pool<Database>>,
    instance: String,
}

/// The database, for those who read.
#[derive(Debug)]
pub(in crate::store) struct Database(Arc<PostgresSettings>);

impl Source for Database {
    type Connection = Session;

    fn open(&self) -> Result<Session, StoreError> {
        Session::open(&self.0)
    }

    fn read<T>(
        &self,
        connection: &mut Session,
        is_kept: bool,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match connection.run(SNAPSHOT) {
            // It ended while it was idle.
            Err(_) if is_kept => {
                *connection = self.open()?;
                connection.run(SNAPSHOT)?;
            }
            begun => begun?,
        }
        connection.end(read)
    }
}

impl Postgres {
    /// Connects, and makes the tables in an empty database.
    ///
    /// # Errors
    /// `Refused` for settings that can never work, `Unavailable` where no server is there that takes writes; `Newer`,
    /// `Foreign`, `Damaged` and `Differs` as of any store.
    pub async fn open(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let settings = Arc::new(settings.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let writer = open_patiently(&settings)?;
            let (published, pool) = (writer.published(), writer.pool());
            let instance = pool.read_now(instance)?;
            let queue = Queue::start(move |waiting| writer.run(waiting))?;
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

    /// Which database it is: the same for every node of it, and another for a copy that was restored elsewhere.
    pub fn instance(&self) -> String {
        self.0.instance.clone()
    }

    /// Off the runtime, on one state of the database.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Sql) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.pool.read(read).await
    }
}

/// Brokers are often started together with their database.
fn open_patiently(settings: &Arc<PostgresSettings>) -> Result<Writer, StoreError> {
    let deadline = Instant::now() + START;
    let mut is_told = false;
    loop {
        match Writer::open(settings) {
            Err(error) if error.is_outage() && Instant::now() < deadline => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "the store cannot be opened yet, and is tried again");
                }
                std::thread::sleep(BETWEEN_ATTEMPTS);
            }
            opened => return opened,
        }
    }
}

/// Lets `write` fill an empty database, whole or not at all.
///
/// # Errors
/// `Refused` where it is not empty.
pub(in crate::store) fn fill(
    settings: &PostgresSettings,
    write: impl FnOnce(&dyn Journal) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let session = Session::open(settings)?;
    schema::prepare(&session, &settings.name())?;
    let head = session.begin_locked(LOCKED_HEAD, head_of)?;
    if head.size > 0 {
        let problem = format!("{} holds {} events already: name an empty one", settings.name(), head.size);
        return Err(StoreError::Refused(problem.into()));
    }
    write(&session)?;
    session.run("COMMIT")
}

/// A connection that reads beside the brokers, of tables that are of this version.
pub(in crate::store) fn open_reader(settings: &PostgresSettings) -> Result<Session, StoreError> {
    let session = Session::open(settings)?;
    schema::check(&session, &settings.name())?;
    Ok(session)
}

fn instance(sql: &dyn Sql) -> Result<String, StoreError> {
    let identity = "SELECT system_identifier::text || '-' || oid::text FROM pg_control_system(), pg_database
                    WHERE datname = current_database()";
    let identity = sql.one(identity, &[], |row| Ok(row.text(0)?.to_owned()))?;
    identity.ok_or_else(|| StoreError::unavailable("PostgreSQL does not say which database this is"))
}
