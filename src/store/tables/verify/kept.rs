//! The tables, as `store/verify` asks for them.

use crate::domain::digest::Digest;
use crate::domain::merkle::Node;
use crate::domain::revocation::{Revision, Stop};
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::tables::sql::{Row, Sql, values};
use crate::store::tables::{keys, meta, stops, tiles, tip};
use crate::store::verify::Kept;

/// Within one transaction, so that they are of one moment.
pub(super) struct Tables<'a>(pub(super) &'a dyn Sql);

impl Tables<'_> {
    fn count(&self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.0.one(sql, &[], |row| row.number(0))?.unwrap_or_default())
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
        let change = "SELECT seq, ended FROM changes WHERE revision = ?1";
        let read = |row: &dyn Row| Ok((seq(row.int(0)?), row.text_or_none(1)?.map(str::to_owned)));
        self.0.one(change, values![number], read)
    }

    fn changes(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM changes")
    }

    fn stop(&self, seq: u64) -> Result<Option<Stop>, StoreError> {
        stops::by_seq(self.0, seq)
    }

    fn stops(&self) -> Result<Vec<(u64, Option<u64>)>, StoreError> {
        let read = |row: &dyn Row| Ok((seq(row.int(0)?), row.int_or_none(1)?.map(seq)));
        self.0.all("SELECT seq, lift_seq FROM stops ORDER BY seq", &[], read)
    }

    fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        keys::list(self.0)
    }

    fn names(&self) -> Result<Vec<(String, String)>, StoreError> {
        meta::all(self.0)
    }
}
