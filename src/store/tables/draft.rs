//! An event as the writer takes it: everything is made by the caller's task but the `seq`.

use super::blocks::{self, Term};
use super::columns::Columns;
use crate::domain::event::Event;
use crate::store::record;

/// An event without its `seq`.
#[derive(Debug)]
pub(in crate::store) struct Draft {
    /// The event's JSON after `{`.
    tail: String,
    pub(super) columns: Columns,
    pub(super) terms: Vec<Term>,
}

impl Draft {
    pub(in crate::store) fn of(event: &Event) -> Self {
        Self { tail: record::tail(event), columns: Columns::of(event), terms: blocks::terms(event) }
    }

    /// The bytes that are stored and hashed.
    pub(super) fn bytes(&self, seq: u64) -> String {
        record::bytes(seq, &self.tail)
    }
}
