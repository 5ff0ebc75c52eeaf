//! What the shared code asks of a connection: SQL that both databases understand, with `?1` for a value.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::domain::digest::Digest;
use crate::domain::revocation::Revision;
use crate::store::error::StoreError;

/// A value that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Value<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
    Blob(&'a [u8]),
}

/// A value that is read. Nothing is assumed of what somebody wrote to a file: a text may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Cell<'a> {
    Null,
    Int(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
    /// Of a type that hallpass never writes.
    Other,
}

pub(in crate::store) trait Row {
    /// The value of column `n`, from 0.
    fn cell(&self, n: usize) -> Result<Cell<'_>, StoreError>;
}

/// What is done with each row; a break ends the query.
pub(in crate::store) type EachRow<'a> = dyn FnMut(&dyn Row) -> Result<ControlFlow<()>, StoreError> + 'a;

/// A connection within one transaction.
pub(in crate::store) trait Sql {
    /// Calls `row` with each row in order, until it breaks or fails. A query that can give more than some thousands of
    /// rows is asked in parts, for a backend may hold all of them in memory.
    fn rows(&self, sql: &str, values: &[Value<'_>], row: &mut EachRow<'_>) -> Result<(), StoreError>;

    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError>;

    /// What stands in an index for a text. A database whose indexes hold no long texts keeps a hash of them.
    fn indexed(&self, text: String) -> String {
        text
    }

    /// What could hide a stop from a start or change what is written: a damaged table of the stops, a trigger.
    fn check_stops(&self) -> Result<(), StoreError>;

    /// The tables, indexes, triggers and views that are not as this version makes them. A trigger could drop events
    /// unseen; an index of other rows could hide them from an auditor.
    fn schema_differences(&self) -> Result<Vec<String>, StoreError>;

    /// What the database itself finds broken.
    fn damage(&self) -> Result<Vec<String>, StoreError>;
}

impl dyn Sql + '_ {
    pub(in crate::store) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut row: impl FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.rows(sql, values, &mut |each| row(each).map(|()| ControlFlow::Continue(())))
    }

    /// The first row, where there is one.
    pub(in crate::store) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut found = None;
        self.rows(sql, values, &mut |row| {
            found = Some(read(row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    pub(in crate::store) fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(sql, values, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }
}

fn wrong(n: usize) -> StoreError {
    StoreError::Damaged(format!("column {n} of a row holds what hallpass never writes there"))
}

impl<'r> dyn Row + 'r {
    pub(in crate::store) fn int(&self, n: usize) -> Result<i64, StoreError> {
        self.int_or_none(n)?.ok_or_else(|| wrong(n))
    }

    pub(in crate::store) fn int_or_none(&self, n: usize) -> Result<Option<i64>, StoreError> {
        match self.cell(n)? {
            Cell::Int(number) => Ok(Some(number)),
            Cell::Null => Ok(None),
            _ => Err(wrong(n)),
        }
    }

    /// A number that this program wrote: never negative.
    pub(in crate::store) fn number(&self, n: usize) -> Result<u64, StoreError> {
        self.int(n).map(i64::unsigned_abs)
    }

    pub(in crate::store) fn revision(&self, n: usize) -> Result<Revision, StoreError> {
        self.number(n).map(Revision::new)
    }

    pub(in crate::store) fn text(&self, n: usize) -> Result<&str, StoreError> {
        self.text_or_none(n)?.ok_or_else(|| wrong(n))
    }

    pub(in crate::store) fn text_or_none(&self, n: usize) -> Result<Option<&str>, StoreError> {
        match self.cell(n)? {
            Cell::Text(text) => std::str::from_utf8(text).map(Some).map_err(|_| wrong(n)),
            Cell::Null => Ok(None),
            _ => Err(wrong(n)),
        }
    }

    /// The text, or none of whatever else is there.
    pub(in crate::store) fn text_if_any(&self, n: usize) -> &str {
        self.text(n).unwrap_or_default()
    }

    pub(in crate::store) fn blob(&self, n: usize) -> Result<&[u8], StoreError> {
        match self.cell(n)? {
            Cell::Blob(bytes) => Ok(bytes),
            _ => Err(wrong(n)),
        }
    }

    /// The hash; nothing of what is none.
    pub(in crate::store) fn digest(&self, n: usize) -> Result<Option<Digest>, StoreError> {
        match self.cell(n)? {
            Cell::Blob(bytes) => Ok(bytes.try_into().ok().map(Digest)),
            _ => Ok(None),
        }
    }

    /// A value that was printed by its own type.
    pub(in crate::store) fn parsed<T: std::str::FromStr>(&self, n: usize) -> Result<T, StoreError> {
        self.text(n)?.parse().map_err(|_| wrong(n))
    }

    pub(in crate::store) fn parsed_or_none<T: std::str::FromStr>(
        &self,
        n: usize,
    ) -> Result<Option<T>, StoreError> {
        self.text_or_none(n)?.map(|text| text.parse().map_err(|_| wrong(n))).transpose()
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// A log never comes near the limit of the signed integers of databases.
impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<Revision> for Value<'_> {
    fn from(revision: Revision) -> Self {
        revision.number().into()
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a Digest> for Value<'a> {
    fn from(digest: &'a Digest) -> Self {
        Self::Blob(&digest.0)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::tables::sql::Value::from($value)),*] };
}
pub(in crate::store) use values;
