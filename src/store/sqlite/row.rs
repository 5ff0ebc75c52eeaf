//! How numbers and hashes stand in a row.

use crate::domain::digest::Digest;
use crate::domain::revocation::Revision;

/// SQLite's integers are signed; a log never comes near the limit.
pub(super) fn sql_int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number that this program wrote: never negative.
pub(super) fn revision(n: i64) -> Revision {
    Revision::new(n.unsigned_abs())
}

pub(super) fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest)
}
