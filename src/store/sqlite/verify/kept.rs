//! The tables, as `store/verify` asks for them.

use rusqlite::{Connection, OptionalExtension};

use crate::domain::digest::Digest;
use crate::domain::merkle::Node;
use crate::domain::revocation::{Revision, Stop};
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::sqlite::row::sql_int;
use crate::store::sqlite::{keys, mark, schema, stops, tiles, tip};
use crate::store::verify::Kept;

/// Within one transaction, so that they are of one moment.
pub(super) struct Tables<'a>(pub(super) &'a Connection);

impl Tables<'_> {
    fn count(&self, sql: &str) -> Result<u64, StoreError> {
        let count: i64 = self.0.query_row(sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

/// A `seq` that is stored; no event has one below 1.
fn seq(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

impl Kept for Tables<'_> {
    fn head(&self) -> Result<HeadRow, StoreError> {
        tip::read_head(self.0)
    }

    fn tile(&self, node: Node) -> Result<Option<Digest>, StoreError> {
        tiles::at(self.0, node)
    }

    fn tiles(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM tiles")
    }

    fn change(&self, number: Revision) -> Result<Option<(u64, Option<String>)>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT seq, ended FROM changes WHERE revision = ?1")?;
        let read = |row: &rusqlite::Row<'_>| Ok((seq(row.get(0)?), row.get(1)?));
        Ok(statement.query_row([sql_int(number.number())], read).optional()?)
    }

    fn changes(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM changes")
    }

    fn stop(&self, seq: u64) -> Result<Option<Stop>, StoreError> {
        Ok(stops::by_seq(self.0, seq)?)
    }

    fn stops(&self) -> Result<Vec<(u64, Option<u64>)>, StoreError> {
        let mut statement = self.0.prepare("SELECT seq, lift_seq FROM stops ORDER BY seq")?;
        let rows =
            statement.query_map([], |row| Ok((seq(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(seq))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        Ok(keys::list(self.0)?)
    }

    fn names(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut names = schema::whole_meta(self.0)?;
        // Which file it is says nothing of the log.
        names.retain(|(name, _)| name != mark::NAME);
        Ok(names)
    }
}
