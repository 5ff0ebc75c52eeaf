//! One row of the log against its own bytes.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::merkle::leaf_hash;
use crate::store::record;
use crate::store::sqlite::draft::Columns;
use crate::store::verify::VerifyError;

pub(super) const SELECT: &str = "SELECT seq, leaf, at, kind, outcome, agent, owner, issuer, token, request,
    expires, bytes FROM events ORDER BY seq";

/// Checks that the row is the event `seq`, and gives its leaf hash and what it says.
pub(super) fn check(row: &Row<'_>, seq: u64) -> Result<(Digest, Event), VerifyError> {
    let found: i64 = row.get(0)?;
    match u64::try_from(found) {
        Ok(found) if found == seq => {}
        Ok(found) if found > seq => {
            let last = found - 1;
            return Err(VerifyError::Tampered { first: seq, last, problem: "missing".to_owned() });
        }
        _ => return Err(VerifyError::event(seq, format!("there is an event {found} before it"))),
    }
    let Ok(bytes) = row.get_ref(11)?.as_str() else {
        return Err(VerifyError::event(seq, "its bytes are not UTF-8 text"));
    };
    let leaf = leaf_hash(bytes.as_bytes());
    if row.get_ref(1)? != ValueRef::Blob(&leaf.0) {
        return Err(VerifyError::event(seq, "its bytes are not those that were hashed"));
    }
    let event = record::parse(seq, bytes).map_err(|problem| VerifyError::event(seq, problem))?;
    if let Some(column) = first_difference(row, &Columns::of(&event))? {
        let problem = format!("the column {column} differs from what the event says");
        return Err(VerifyError::event(seq, problem));
    }
    Ok((leaf, event))
}

fn first_difference(row: &Row<'_>, columns: &Columns) -> rusqlite::Result<Option<&'static str>> {
    fn text(value: Option<&str>) -> ValueRef<'_> {
        value.map_or(ValueRef::Null, |value| ValueRef::Text(value.as_bytes()))
    }
    let expected = [
        ("at", ValueRef::Integer(columns.at)),
        ("kind", text(Some(columns.kind))),
        ("outcome", text(Some(columns.outcome))),
        ("agent", text(columns.agent.as_ref().map(|agent| agent.as_str()))),
        ("owner", text(columns.owner.as_ref().map(|owner| owner.as_str()))),
        ("issuer", text(columns.issuer.as_ref().map(|issuer| issuer.as_str()))),
        ("token", text(columns.token.as_deref())),
        ("request", text(columns.request.as_deref())),
        ("expires", columns.expires.map_or(ValueRef::Null, ValueRef::Integer)),
    ];
    for (n, (name, value)) in expected.into_iter().enumerate() {
        if row.get_ref(n + 2)? != value {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
