//! What a store says of itself, by name.

use super::sql::{Sql, values};
use crate::store::error::StoreError;

/// The name of the mark of a database file that a broker has open. It says nothing of the log.
pub(in crate::store) const OPEN: &str = "open";

/// One of the values that are set once.
pub(in crate::store) fn get(sql: &dyn Sql, name: &str) -> Result<Option<String>, StoreError> {
    sql.one("SELECT value FROM meta WHERE name = ?1", values![name], |row| Ok(row.text(0)?.to_owned()))
}

/// All of them that say something of the log, by name.
pub(super) fn all(sql: &dyn Sql) -> Result<Vec<(String, String)>, StoreError> {
    let all = "SELECT name, value FROM meta WHERE name <> ?1 ORDER BY name";
    sql.all(all, values![OPEN], |row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
}

/// Sets one of them for ever, and gives what it is: an earlier value stays.
pub(super) fn set(sql: &dyn Sql, name: &str, value: String) -> Result<String, StoreError> {
    let insert = "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    sql.execute(insert, values![name, value.as_str()])?;
    Ok(get(sql, name)?.unwrap_or(value))
}
