//! What other nodes have written since this one looked last. Only the changes of the kill switch are read; the events that
//! came meanwhile are counted by the head.

use std::sync::Arc;

use super::blocks::Entry;
use super::replay::PART;
use super::sql::{Row, Sql, values};
use super::stops;
use super::tip::Tip;
use super::told::{Told, differs};
use crate::domain::event::Kind;
use crate::domain::merkle::Frontier;
use crate::domain::revocation::{Point, Revision};
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::in_force::InForce;

impl Tip {
    /// Makes this the end that `head` counts, within the transaction in which it was read. Says whether there was news.
    ///
    /// # Errors
    /// `Damaged` where the log is shorter than it was, or another one; `Differs` where a change is not what its event tells.
    pub(in crate::store) fn catch_up(&mut self, sql: &dyn Sql, head: HeadRow) -> Result<bool, StoreError> {
        let known = self.frontier.size();
        if head.size == known && head.root == self.frontier.root() {
            return Ok(false);
        }
        if head.size <= known || head.revision < self.book.revision() {
            return Err(StoreError::Damaged(format!("the log does not hold the {known} events it had")));
        }
        let frontier = Frontier::from_parts(head.size, head.peaks);
        let frontier = frontier.filter(|frontier| frontier.root() == head.root).ok_or_else(|| {
            StoreError::Damaged(format!(
                "the head of {} events has another root than its frontier",
                head.size
            ))
        })?;
        self.learn_changes(sql, head.revision)?;
        self.frontier = frontier;
        self.span = head.span;
        self.floor = head.floor;
        self.book.raise_floor(head.floor);
        self.open = Arc::new(Entry::default());
        Ok(true)
    }

    fn learn_changes(&mut self, sql: &dyn Sql, last: Revision) -> Result<(), StoreError> {
        let changes = "SELECT revision, changes.seq, leaf, bytes FROM changes JOIN events USING (seq)
                       WHERE revision > ?1 ORDER BY revision LIMIT ?2";
        while self.book.revision() < last {
            let before = self.book.revision();
            sql.each(changes, values![before, PART], |row| self.learn(sql, row))?;
            if self.book.revision() == before {
                return Err(differs(format!("the change {} is missing", before.next())));
            }
        }
        Ok(())
    }

    fn learn(&mut self, sql: &dyn Sql, row: &dyn Row) -> Result<(), StoreError> {
        let (number, leaf) = (row.revision(0)?, row.digest(2)?);
        let told = Told::of(row.number(1)?, row.text_if_any(3), leaf)?;
        let wrong =
            |what: &str| differs(format!("the event {} is said to be the change {number}: {what}", told.seq));
        let is_restored = told.kind == Kind::StoreRestored;
        if told.revision != Some(number) || (number != self.book.revision().next() && !is_restored) {
            return Err(wrong("it is not, or one before it is missing"));
        }
        if told.ends() {
            let token = told.target.and_then(|target| target.strip_prefix("token:"));
            let token = token.and_then(|token| token.parse().ok());
            self.book.end(token.ok_or_else(|| wrong("it names no token"))?, number);
        } else if is_restored {
            self.book.refuse_below(number);
            self.book.forget_ended();
        } else {
            let id = told.stop.and_then(|id| id.parse().ok()).ok_or_else(|| wrong("it names no stop"))?;
            let stop = stops::by_id(sql, id)?.ok_or_else(|| wrong("its stop is missing"))?;
            self.book.note_stop(&stop);
        }
        let in_force = told.in_force.and_then(|said| said.parse().ok());
        self.in_force = InForce::said(in_force.ok_or_else(|| wrong("it does not say what is in force"))?);
        let mark = leaf.ok_or_else(|| wrong("it has no hash"))?;
        self.book.complete_to(Point { revision: number, mark });
        Ok(())
    }
}
