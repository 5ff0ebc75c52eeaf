//! A store in a file moves into PostgreSQL.

use std::path::Path;

use super::error::StoreError;
use super::postgres;
use super::reader::Reader;
use super::settings::{PostgresSettings, StoreSettings};
use super::sqlite::lock;
use super::tables::transfer::transfer;
use super::verify::{Verified, VerifyError};
use crate::files::beside;

/// Copies the store in the file `from`, which no broker may write to, into the empty database `to`: the same bytes, order
/// and root. Both are verified. The file stays as it is. Blocking.
///
/// # Errors
/// `Locked` while a broker writes to the file; `Refused` where stops wait beside it, or where the database is not empty;
/// what does not verify. The database is empty then as before.
pub fn move_to_postgres(from: &Path, to: &PostgresSettings) -> Result<Verified, VerifyError> {
    let reader = Reader::open(from)?;
    let _lock = lock(from)?;
    let waiting = beside(from, ".unjournaled");
    if waiting.metadata().is_ok_and(|file| file.len() > 0) {
        let problem = format!(
            "{} holds stops that wait for the store: start a broker on the file once, which journals them",
            waiting.display()
        );
        return Err(StoreError::Refused(problem.into()).into());
    }
    let source = reader.verify(None, &mut |_, _| {})?;
    postgres::fill(to, |journal| reader.read(|sql| transfer(sql, journal)))?;
    let settings = StoreSettings::Postgres(Box::new(to.clone()));
    let copy = Reader::open_store(&settings)?.verify(None, &mut |_, _| {})?;
    if copy == source {
        Ok(copy)
    } else {
        Err(StoreError::Damaged("the copy has another root than the file".to_owned()).into())
    }
}
