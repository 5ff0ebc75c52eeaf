//! The sealed signing keys. The store cannot open them.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::domain::signing::{KeyPurpose, SealedKey};
use crate::domain::time::Timestamp;

const TOKEN: &str = "token";
const CHECKPOINT: &str = "checkpoint";

fn read(row: &Row<'_>) -> rusqlite::Result<SealedKey> {
    let wrong = |n, text: &str| rusqlite::Error::InvalidColumnType(n, text.to_owned(), Type::Text);
    let (purpose, algorithm): (String, String) = (row.get(1)?, row.get(2)?);
    Ok(SealedKey {
        kid: row.get(0)?,
        purpose: match purpose.as_str() {
            TOKEN => KeyPurpose::Token,
            CHECKPOINT => KeyPurpose::Checkpoint,
            _ => return Err(wrong(1, "purpose")),
        },
        algorithm: algorithm.parse().map_err(|_| wrong(2, "algorithm"))?,
        created: Timestamp::from_millis(row.get(3)?),
        signs_from: Timestamp::from_millis(row.get(4)?),
        sealed: row.get(5)?,
    })
}

/// The oldest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SealedKey>> {
    let sql = "SELECT kid, purpose, algorithm, created, signs_from, sealed FROM signing_keys
               ORDER BY created, kid";
    let mut statement = connection.prepare_cached(sql)?;
    let keys = statement.query_map([], read)?;
    keys.collect()
}

pub(super) fn put(connection: &Connection, key: &SealedKey) -> rusqlite::Result<()> {
    let purpose = match key.purpose {
        KeyPurpose::Token => TOKEN,
        KeyPurpose::Checkpoint => CHECKPOINT,
    };
    connection.execute(
        "INSERT OR REPLACE INTO signing_keys(kid, purpose, algorithm, created, signs_from, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            key.kid,
            purpose,
            key.algorithm.as_str(),
            key.created.millis(),
            key.signs_from.millis(),
            key.sealed
        ],
    )?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, kid: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM signing_keys WHERE kid = ?1", [kid])?;
    Ok(())
}
