//! One row of the log against its own bytes.

use super::blame::Blame;
use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::merkle::leaf_hash;
use crate::store::error::StoreError;
use crate::store::record;
use crate::store::tables::columns::Columns;
use crate::store::tables::sql::{Cell, Row};
use crate::store::verify::{Difference, Differences, VerifyError};

pub(super) const SELECT: &str = "SELECT seq, leaf, at, kind, outcome, agent, owner, issuer, token, request,
    expires, bytes FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Checks that the row is the event `seq`, and gives its leaf hash and what it says: nothing where its bytes are not those
/// that were hashed, or none that hallpass writes. That is noted, and each column that differs from what it says.
///
/// # Errors
/// Where the place of the event in the tree is not known, so that nothing after it can be judged.
pub(super) fn check(
    row: &dyn Row,
    seq: u64,
    blame: impl FnOnce() -> Result<Blame, StoreError>,
    differences: &mut Differences,
) -> Result<(Digest, Option<Event>), VerifyError> {
    let wrong = |problem: String| VerifyError::from(Difference::event(seq, problem));
    let found = row.int(0)?;
    match u64::try_from(found) {
        Ok(found) if found == seq => {}
        Ok(found) if found > seq => {
            let last = found - 1;
            return Err(Difference::Tampered { first: seq, last, problem: "missing".to_owned() }.into());
        }
        _ => return Err(wrong(format!("there is an event {found} before it"))),
    }
    let bytes = match row.cell(11)? {
        Cell::Text(bytes) | Cell::Blob(bytes) => bytes,
        _ => b"",
    };
    let leaf = leaf_hash(bytes);
    let stored = row.digest(1)?;
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

fn compare(row: &dyn Row, columns: &Columns, mut differs: impl FnMut(&str)) -> Result<(), StoreError> {
    fn text(value: Option<&str>) -> Cell<'_> {
        value.map_or(Cell::Null, |value| Cell::Text(value.as_bytes()))
    }
    let expected = [
        ("at", Cell::Int(columns.at.millis())),
        ("kind", text(Some(columns.kind))),
        ("outcome", text(Some(columns.outcome))),
        ("agent", text(columns.agent.as_ref().map(|agent| agent.as_str()))),
        ("owner", text(columns.owner.as_ref().map(|owner| owner.as_str()))),
        ("issuer", text(columns.issuer.as_ref().map(|issuer| issuer.as_str()))),
        ("token", text(columns.token.as_deref())),
        ("request", text(columns.request.as_deref())),
        ("expires", columns.expires.map_or(Cell::Null, |date| Cell::Int(date.seconds()))),
    ];
    for (n, (name, value)) in expected.into_iter().enumerate() {
        if row.cell(n + 2)? != value {
            differs(name);
        }
    }
    Ok(())
}
