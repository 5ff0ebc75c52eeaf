//! One transaction of the writer: what each kind of write does in it.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::blocks::{self, Entry};
use super::draft::Draft;
use super::stops;
use super::tip::{Tip, sql_int};
use crate::domain::event::{Event, Kind};
use crate::domain::id::StopId;
use crate::domain::merkle::TILE_HEIGHT;
use crate::domain::merkle::leaf_hash;
use crate::domain::revocation::{Levels, Lift, Stop};
use crate::store::write::{Issuance, Lifted};

/// The writes of one commit, in the order in which they were asked for.
pub(super) struct Batch<'a> {
    /// Before `transaction`, for it must be dropped first.
    insert: CachedStatement<'a>,
    transaction: Transaction<'a>,
    tip: Tip,
}

const INSERT: &str =
    "INSERT INTO events(seq, leaf, at, kind, outcome, agent, owner, issuer, token, request, expires,
     bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// The changes of one target never share an instant.
const TICK: std::time::Duration = std::time::Duration::from_millis(1);

impl<'a> Batch<'a> {
    /// The writer has no other transaction on `connection`.
    pub(super) fn begin(connection: &'a Connection, tip: Tip) -> rusqlite::Result<Self> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        Ok(Self { insert: connection.prepare_cached(INSERT)?, transaction, tip })
    }

    /// Makes the batch durable and gives the new end of the log.
    pub(super) fn commit(self, changed: bool) -> rusqlite::Result<Tip> {
        if changed {
            self.tip.save(&self.transaction)?;
        }
        drop(self.insert);
        self.transaction.commit()?;
        Ok(self.tip)
    }

    pub(super) fn size(&self) -> u64 {
        self.tip.frontier.size()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.transaction
    }

    pub(super) fn append(&mut self, draft: &Draft) -> rusqlite::Result<u64> {
        let seq = self.tip.frontier.size() + 1;
        let (bytes, row) = (draft.bytes(seq), &draft.columns);
        let leaf = leaf_hash(bytes.as_bytes());
        self.insert.execute(params![
            sql_int(seq),
            &leaf.0[..],
            row.at,
            row.kind,
            row.outcome,
            row.agent.as_ref().map(|agent| agent.as_str()),
            row.owner.as_ref().map(|owner| owner.as_str()),
            row.issuer.as_ref().map(|issuer| issuer.as_str()),
            row.token,
            row.request,
            row.expires,
            bytes,
        ])?;
        let open = Arc::make_mut(&mut self.tip.open);
        open.note(row.at, &draft.terms);
        if seq.is_multiple_of(blocks::SIZE) {
            open.write(&self.transaction, blocks::of_seq(seq))?;
            *open = Entry::default();
        }
        let mut tiles = Vec::new();
        self.tip.frontier.append_with(leaf, |node, hash| {
            if node.level.is_multiple_of(TILE_HEIGHT) {
                tiles.push((node, *hash));
            }
        });
        for (node, hash) in tiles {
            let sql = "INSERT INTO tiles(level, place, hash) VALUES (?1, ?2, ?3)";
            let mut insert = self.transaction.prepare_cached(sql)?;
            insert.execute(params![node.level, sql_int(node.index), &hash.0[..]])?;
        }
        self.tip.span.note(row.at);
        Ok(seq)
    }

    /// Stops and issuances go through this one thread, so none of the latter is ordered after a stop
    /// that covers it, not even within a batch.
    pub(super) fn issue(
        &mut self,
        draft: &Draft,
        levels: &Levels,
        iat: i64,
        parent: Option<&(Levels, i64)>,
    ) -> rusqlite::Result<Issuance> {
        let verdict = self.tip.book.verdict(levels);
        let orphaned = |(levels, iat): &(Levels, i64)| self.tip.book.verdict(levels).kills(*iat);
        if verdict.kills(iat) || parent.is_some_and(orphaned) {
            return Ok(Issuance::Dead(verdict));
        }
        Ok(Issuance::Recorded(self.append(draft)?))
    }

    pub(super) fn stop(&mut self, mut stop: Stop, mut event: Event) -> rusqlite::Result<Stop> {
        if let Some(known) = stops::by_id(&self.transaction, stop.id)? {
            return Ok(known);
        }
        if let Some(active) = stops::active(&self.transaction, &stop.target)? {
            event.target = Some(stop.target);
            self.append(&Draft::of(&event))?;
            return Ok(active);
        }
        if let Some(lifted) = stops::last_lift(&self.transaction, &stop.target)? {
            stop.at = stop.at.max(lifted + TICK);
        }
        stop.lift = None;
        event.at = stop.at;
        event.target = Some(stop.target.clone());
        event.reason = Some(stop.reason.clone());
        event.operator.clone_from(&stop.operator);
        let seq = self.append(&Draft::of(&event))?;
        stops::insert(&self.transaction, &stop, seq)?;
        self.note(&stop);
        Ok(stop)
    }

    pub(super) fn lift(
        &mut self,
        id: StopId,
        mut lift: Lift,
        make_event: impl FnOnce(&Stop) -> Event,
    ) -> rusqlite::Result<Lifted> {
        let Some(mut stop) = stops::by_id(&self.transaction, id)? else { return Ok(Lifted::Unknown) };
        if stop.lift.is_some() {
            return Ok(Lifted::Already(stop));
        }
        lift.at = lift.at.max(stop.at + TICK);
        stop.lift = Some(lift.clone());
        let mut event = make_event(&stop);
        event.kind = Kind::RevocationLifted;
        event.at = lift.at;
        event.target = Some(stop.target.clone());
        event.reason = Some(lift.reason.clone());
        event.operator = Some(lift.operator.clone());
        let seq = self.append(&Draft::of(&event))?;
        stops::lift(&self.transaction, id, &lift, seq)?;
        self.note(&stop);
        Ok(Lifted::Now(stop))
    }

    fn note(&mut self, stop: &Stop) {
        Arc::make_mut(&mut self.tip.book).note(stop.target.clone(), stop.standing());
    }
}
