//! The tables, and how connections to them are opened.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{tables, upgrade};
use crate::store::error::StoreError;

/// Raised whenever the tables change; a database of a higher version is not touched.
const VERSION: i64 = 4;

/// "hall": tells a hallpass database from any other SQLite file.
const APPLICATION_ID: i64 = 0x6861_6c6c;

/// How long a connection waits for a lock that only a program other than hallpass would hold.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Bytes. Each commit writes its pages whole, with two calls each: half as many as of the usual 4096. Seven events
/// fill a page.
const PAGE: i64 = 8192;

/// The writer's connection, to a database that has its tables. `synchronous=FULL` alone syncs each
/// commit in WAL mode, and the writer decides when the log is checkpointed.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = version(&connection, path)?;
    configure(&connection)?;
    if version < VERSION {
        upgrade::from(&mut connection, path, version)?;
    }
    Ok(connection)
}

/// The same, for the first writer of an empty file too.
pub(super) fn open_or_create(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let count = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if count.map_err(|error| unreadable(path, error))? > 0 {
        return open_writer(path);
    }
    connection.pragma_update(None, "page_size", PAGE)?;
    configure(&connection)?;
    create(&mut connection)?;
    Ok(connection)
}

/// A connection that reads a database where no file can be written: SQLite keeps in memory what it else keeps in the
/// `-shm` file. Nobody else can use the database until it is closed, which leaves the write-ahead log as it is.
pub(super) fn open_at_rest(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection
        .execute_batch("PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;")?;
    let count = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if count.map_err(|error| unreadable(path, error))? == 0 {
        return Err(StoreError::unavailable("the database has no tables yet"));
    }
    match version(&connection, path)? {
        VERSION => Ok(connection),
        found => Err(StoreError::unavailable(format!("the database is of schema {found} still"))),
    }
}

/// A connection that moves the write-ahead log beside the writer. It has read once, so that it knows of the log.
pub(super) fn open_mover(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    version(&connection, path)?;
    Ok(connection)
}

/// A connection that cannot write, for queries beside the writer.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.execute_batch("PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;")?;
    match version(&connection, path)? {
        VERSION => Ok(connection),
        found => Err(StoreError::Older { path: path.to_owned(), found, known: VERSION }),
    }
}

/// A connection that reads a database to copy it, of an earlier schema too.
pub(super) fn open_source(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::File { path: path.to_owned(), problem: "there is no such file".into() });
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    version(&connection, path)?;
    Ok(connection)
}

/// A connection that fills an empty file.
pub(super) fn open_empty(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;",
    )
}

fn unreadable(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Foreign { path: path.to_owned(), problem: error.to_string() }
        }
        _ => error.into(),
    }
}

fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    for tables in [tables::LOG, tables::HEAD, tables::STOPS, tables::KEYS, tables::BLOCKS] {
        transaction.execute_batch(tables)?;
    }
    let root = crate::domain::merkle::empty_root();
    transaction.execute(
        "INSERT INTO head(id, size, root, peaks, latest, skew, revision, floor) VALUES (1, 0, ?1, x'', 0, 0, 0, 0)",
        [&root.0[..]],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// The schema of a hallpass database, which this version knows.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let foreign = |problem: String| StoreError::Foreign { path: path.to_owned(), problem };
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|error| unreadable(path, error))?;
    let found = number("user_version")?;
    if application != APPLICATION_ID {
        return Err(foreign("its application id is another".to_owned()));
    }
    match found {
        1..=VERSION => Ok(found),
        newer if newer > VERSION => Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION }),
        _ => Err(foreign(format!("it has no schema {found}"))),
    }
}

/// The tables, indexes, triggers and views that are not as this version makes them. A trigger could drop
/// events unseen; an index of other rows could hide them from an auditor.
pub(super) fn differences(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let model = Connection::open_in_memory()?;
    for tables in [tables::LOG, tables::HEAD, tables::STOPS, tables::KEYS, tables::BLOCKS] {
        model.execute_batch(tables)?;
    }
    // The tables of `ANALYZE` alone may be there besides: they have these names, and no code runs by them.
    let schema = "SELECT name, type || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema
                  WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))";
    let read = |connection: &Connection| -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare(schema)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let (expected, found) = (read(&model)?, read(connection)?);
    let strangers = found.iter().filter(|entry| !expected.contains(entry));
    let lost = expected.iter().filter(|entry| !found.contains(entry));
    let names: BTreeSet<String> = strangers.chain(lost).map(|(name, _)| name.clone()).collect();
    Ok(names.into_iter().collect())
}
