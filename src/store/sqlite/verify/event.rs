//! One row of the log against its own bytes.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::blame::Blame;
use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::merkle::leaf_hash;
use crate::store::error::StoreError;
use crate::store::record;
use crate::store::sqlite::draft::Columns;
use crate::store::sqlite::row::digest;
use crate::store::verify::{Difference, Differences, VerifyError};

pub(super) const SELECT: &str = "SELECT seq, leaf, at, kind, outcome, agent, owner, issuer, token, request,
    expires, bytes FROM events ORDER BY seq";

/// Checks that the row is the event `seq`, and gives its leaf hash and what it says: nothing where its bytes are not those
/// that were hashed, or none that hallpass writes. That is noted, and each column that differs from what it says.
///
/// # Errors
/// Where the place of the event in the tree is not known, so that nothing after it can be judged.
pub(super) fn check(
    row: &Row<'_>,
    seq: u64,
    blame: impl FnOnce() -> Result<Blame, StoreError>,
    differences: &mut Differences,
) -> Result<(Digest, Option<Event>), VerifyError> {
    let wrong = |problem: String| VerifyError::from(Difference::event(seq, problem));
    let found: i64 = row.get(0)?;
    match u64::try_from(found) {
        Ok(found) if found == seq => {}
        Ok(found) if found > seq => {
            let last = found - 1;
            return Err(Difference::Tampered { first: seq, last, problem: "missing".to_owned() }.into());
        }
        _ => return Err(wrong(format!("there is an event {found} before it"))),
    }
    let bytes = match row.get_ref(11)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => b"",
    };
    let leaf = leaf_hash(bytes);
    let stored = row.get_ref(1)?.as_blob().ok().and_then(digest);
    if stored != Some(leaf) {
        if blame()? == Blame::Leaves {
            differences.push(Difference::event(seq, "its hash is not the one that was stored"));
        } else {
            let problem = "its bytes are not those that were hashed";
            let Some(stored) = stored else { return Err(wrong(problem.to_owned())) };
            differences.push(Difference::event(seq, problem));
            return Ok((stored, None));
        }
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "its bytes are not UTF-8 text".to_owned());
    let event = match text.and_then(|text| record::parse(seq, text)) {
        Ok(event) => event,
        Err(problem) => {
            differences.push(Difference::event(seq, problem));
            return Ok((leaf, None));
        }
    };
    compare(row, &Columns::of(&event), |column| {
        let problem = format!("the column {column} differs from what the event says");
        differences.push(Difference::event(seq, problem));
    })?;
    Ok((leaf, Some(event)))
}

fn compare(row: &Row<'_>, columns: &Columns, mut differs: impl FnMut(&str)) -> rusqlite::Result<()> {
    fn text(value: Option<&str>) -> ValueRef<'_> {
        value.map_or(ValueRef::Null, |value| ValueRef::Text(value.as_bytes()))
    }
    let expected = [
        ("at", ValueRef::Integer(columns.at.millis())),
        ("kind", text(Some(columns.kind))),
        ("outcome", text(Some(columns.outcome))),
        ("agent", text(columns.agent.as_ref().map(|agent| agent.as_str()))),
        ("owner", text(columns.owner.as_ref().map(|owner| owner.as_str()))),
        ("issuer", text(columns.issuer.as_ref().map(|issuer| issuer.as_str()))),
        ("token", text(columns.token.as_deref())),
        ("request", text(columns.request.as_deref())),
        ("expires", columns.expires.map_or(ValueRef::Null, |date| ValueRef::Integer(date.seconds()))),
    ];
    for (n, (name, value)) in expected.into_iter().enumerate() {
        if row.get_ref(n + 2)? != value {
            differs(name);
        }
    }
    Ok(())
}
