//! The sealed signing keys. The store cannot open them.

use super::sql::{Row, Sql, values};
use crate::domain::signing::{KeyPurpose, SealedKey};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;

const TOKEN: &str = "token";
const CHECKPOINT: &str = "checkpoint";

fn read(row: &dyn Row) -> Result<SealedKey, StoreError> {
    Ok(SealedKey {
        kid: row.text(0)?.to_owned(),
        purpose: match row.text(1)? {
            TOKEN => KeyPurpose::Token,
            CHECKPOINT => KeyPurpose::Checkpoint,
            _ => return Err(StoreError::Damaged("a signing key is for a purpose that is none".to_owned())),
        },
        algorithm: row.parsed(2)?,
        created: Timestamp::from_millis(row.int(3)?),
        signs_from: Timestamp::from_millis(row.int(4)?),
        sealed: row.blob(5)?.to_owned(),
    })
}

/// The oldest first.
pub(in crate::store) fn list(sql: &dyn Sql) -> Result<Vec<SealedKey>, StoreError> {
    let keys = "SELECT kid, purpose, algorithm, created, signs_from, sealed FROM signing_keys
                ORDER BY created, kid";
    sql.all(keys, &[], read)
}

pub(super) fn put(sql: &dyn Sql, key: &SealedKey) -> Result<(), StoreError> {
    let purpose = match key.purpose {
        KeyPurpose::Token => TOKEN,
        KeyPurpose::Checkpoint => CHECKPOINT,
    };
    let (created, signs_from) = (key.created.millis(), key.signs_from.millis());
    sql.execute(
        "INSERT INTO signing_keys(kid, purpose, algorithm, created, signs_from, sealed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (kid) DO UPDATE SET purpose = excluded.purpose, algorithm = excluded.algorithm,
         created = excluded.created, signs_from = excluded.signs_from, sealed = excluded.sealed",
        values![&*key.kid, purpose, key.algorithm.as_str(), created, signs_from, &key.sealed[..]],
    )
}

pub(super) fn remove(sql: &dyn Sql, kid: &str) -> Result<(), StoreError> {
    sql.execute("DELETE FROM signing_keys WHERE kid = ?1", values![kid])
}
