//! One transaction of the writer: what each kind of write does in it.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::blocks::{self, Blocks, Entry, Term};
use super::draft::Draft;
use super::row::sql_int;
use super::tip::Tip;
use super::{again, events, keys, mark, schema, stops};
use crate::domain::digest::Digest;
use crate::domain::event::{Event, Kind};
use crate::domain::id::{StopId, TokenId};
use crate::domain::merkle::{TILE_HEIGHT, leaf_hash};
use crate::domain::receipt::Receipt;
use crate::domain::revocation::{Levels, Lift, Point, Revision, Stop, Target, Verdict};
use crate::domain::signing::{KeyRecord, SealedKey};
use crate::domain::time::NumericDate;
use crate::store::write::{Adoption, Issuance, LiftOutcome, Write, Written};

/// A write as the writer takes it: what can be made by the caller's task is made.
pub(super) enum Job {
    Event(Draft),
    Issuance {
        draft: Draft,
        token_sha256: Digest,
        levels: Arc<Levels>,
    },
    PutKey {
        key: SealedKey,
        draft: Draft,
    },
    RemoveKey {
        kid: String,
        draft: Draft,
    },
    /// What is completed within the transaction.
    Other(Box<Write>),
    /// What a test does with the connection of the writer.
    #[cfg(test)]
    Raw(RawJob),
}

#[cfg(test)]
pub(super) type RawJob = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

impl Job {
    pub(super) fn of(write: Write) -> Self {
        match write {
            Write::Event(event) => Self::Event(Draft::of(&event)),
            Write::Issuance { event, levels } => Self::Issuance {
                token_sha256: event.token_sha256.unwrap_or(Digest([0; 32])),
                draft: Draft::of(&event),
                levels,
            },
            Write::PutKey { key, mut event } => {
                event.keys = vec![KeyRecord::from(&key)];
                Self::PutKey { key, draft: Draft::of(&event) }
            }
            Write::RemoveKey { kid, mut event } => {
                event.removed_key = Some(kid.clone());
                Self::RemoveKey { kid, draft: Draft::of(&event) }
            }
            other => Self::Other(Box::new(other)),
        }
    }
}

/// The writes of one commit, in the order in which they were asked for.
pub(super) struct Batch<'a> {
    /// Before `transaction`, for it must be dropped first.
    insert: CachedStatement<'a>,
    transaction: Transaction<'a>,
    tip: Tip,
    /// How many events there were before it.
    size: u64,
    /// Tokens that end in this batch: the book, whose ended tokens every copy shares, has them once it is durable.
    ended: Vec<(TokenId, Revision)>,
    /// Whether it kills all tokens that were decided before it: what the floor makes superfluous is dropped alike.
    adopts: bool,
}

const INSERT: &str =
    "INSERT INTO events(seq, leaf, at, kind, outcome, agent, owner, issuer, token, request, expires,
     bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

impl<'a> Batch<'a> {
    /// The writer has no other transaction on `connection`.
    pub(super) fn begin(connection: &'a Connection, tip: Tip) -> rusqlite::Result<Self> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let size = tip.frontier.size();
        let insert = connection.prepare_cached(INSERT)?;
        Ok(Self { insert, transaction, tip, size, ended: Vec::new(), adopts: false })
    }

    /// Notes in the database that this file is open.
    pub(super) fn mark(&self, database: &Path) -> rusqlite::Result<()> {
        mark::set(&self.transaction, database)
    }

    /// Makes the batch durable and gives the new end of the log.
    pub(super) fn commit(self) -> rusqlite::Result<Tip> {
        if self.tip.frontier.size() != self.size {
            self.tip.save(&self.transaction)?;
        }
        drop(self.insert);
        self.transaction.commit()?;
        for (token, revision) in self.ended {
            self.tip.book.end(token, revision);
        }
        if self.adopts {
            self.tip.book.forget_ended();
        }
        Ok(self.tip)
    }

    pub(super) fn run(&mut self, job: Job) -> rusqlite::Result<Written> {
        Ok(match job {
            Job::Event(draft) => Written::Event(self.append(&draft)?.0),
            Job::Issuance { draft, token_sha256, levels } => {
                Written::Issuance(self.issue(&draft, token_sha256, &levels)?)
            }
            Job::PutKey { key, draft } => {
                keys::put(&self.transaction, &key)?;
                self.append(&draft)?;
                Written::Done
            }
            Job::RemoveKey { kid, draft } => {
                keys::remove(&self.transaction, &kid)?;
                self.append(&draft)?;
                Written::Done
            }
            Job::Other(write) => return self.change(*write),
            #[cfg(test)]
            Job::Raw(work) => {
                work(&self.transaction)?;
                Written::Done
            }
        })
    }

    fn change(&mut self, write: Write) -> rusqlite::Result<Written> {
        Ok(match write {
            Write::Stop { stop, event } => Written::Stop(self.stop(stop, event)?),
            Write::Lift { id, lift, event } => Written::Lift(self.lift(id, lift, event)?),
            Write::End { token, event } => Written::End(self.end(token, event)?),
            Write::Adopt(adoption) => {
                self.adopt(*adoption)?;
                Written::Done
            }
            Write::Reread => {
                self.tip.reread(&self.transaction)?;
                Written::Done
            }
            Write::SetOrigin { origin, event } => Written::Origin(self.set_origin(origin, event)?),
            // The others are jobs of their own.
            whole => return self.run(Job::of(whole)),
        })
    }

    /// Names the log, and tells of it and of every key in an event, unless one did.
    fn set_origin(&mut self, origin: String, mut event: Event) -> rusqlite::Result<String> {
        let origin = schema::set_meta(&self.transaction, "origin", origin)?;
        let told = Term::Kind(Kind::LogNamed);
        if !self.tip.open.has(&told) && Blocks::With(told).newest(&self.transaction, u64::MAX)?.is_none() {
            event.origin = Some(origin.clone());
            event.keys = keys::list(&self.transaction)?.iter().map(KeyRecord::from).collect();
            self.append(&Draft::of(&event))?;
        }
        Ok(origin)
    }

    /// Gives the event's `seq` and its leaf hash.
    fn append(&mut self, draft: &Draft) -> rusqlite::Result<(u64, Digest)> {
        let seq = self.tip.frontier.size() + 1;
        let (bytes, row) = (draft.bytes(seq), &draft.columns);
        let leaf = leaf_hash(bytes.as_bytes());
        self.insert.execute(params![
            sql_int(seq),
            &leaf.0[..],
            row.at.millis(),
            row.kind,
            row.outcome,
            row.agent.as_ref().map(|agent| agent.as_str()),
            row.owner.as_ref().map(|owner| owner.as_str()),
            row.issuer.as_ref().map(|issuer| issuer.as_str()),
            row.token,
            row.request,
            row.expires.map(NumericDate::seconds),
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
        Ok((seq, leaf))
    }

    /// Stops and issuances go through this one thread, so none of the latter is ordered after a stop
    /// that covers it, not even within a batch.
    fn issue(&mut self, draft: &Draft, token_sha256: Digest, levels: &Levels) -> rusqlite::Result<Issuance> {
        let mut verdict = Verdict::of(levels, &[&self.tip.book]);
        let ends_here = |token| self.ended.iter().any(|(ended, _)| *ended == token);
        verdict.overtaken |= levels.links().filter_map(|link| link.token).any(|(token, _)| ends_here(token));
        if verdict.is_dead() {
            return Ok(Issuance::Dead(verdict));
        }
        Ok(Issuance::Recorded(Receipt::of_durable(self.append(draft)?.0, token_sha256)))
    }

    /// Appends the event of the next change, which `record` enters in the tables.
    fn next(
        &mut self,
        mut event: Event,
        record: impl FnOnce(&Transaction<'_>, Revision, u64) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<Revision> {
        let revision = self.tip.book.revision().next();
        event.revision = Some(revision);
        event.in_force = Some(self.tip.in_force.digest());
        // The head has the floor of the last change's event, so that nobody can change it alone.
        let is_restored = event.kind == Kind::StoreRestored;
        self.tip.floor = if is_restored { revision } else { self.tip.book.floor() };
        event.floor = Some(self.tip.floor);
        let (seq, mark) = self.append(&Draft::of(&event))?;
        record(&self.transaction, revision, seq)?;
        self.tip.book.complete_to(Point { revision, mark });
        Ok(revision)
    }

    fn stop(&mut self, mut stop: Stop, mut event: Event) -> rusqlite::Result<Stop> {
        let size = self.tip.frontier.size();
        let id = again::in_place_of(&self.transaction, size, stop.id)?.unwrap_or(stop.id);
        if let Some(known) = stops::by_id(&self.transaction, id)? {
            return Ok(known);
        }
        event.target = Some(stop.target.clone());
        self.name_holder(&mut event);
        if let Some(active) = stops::active(&self.transaction, &stop.target)? {
            event.stop = Some(active.id);
            event.again = Some(stop.id);
            event.as_of = Some(self.tip.book.revision());
            self.append(&Draft::of(&event))?;
            return Ok(active);
        }
        stop.lift = None;
        event.at = stop.at;
        event.stop = Some(stop.id);
        event.reason = Some(stop.reason.clone());
        event.operator.clone_from(&stop.operator);
        self.tip.in_force.toggle(stop.id, &stop.target, self.tip.book.revision().next());
        let revision = self.next(event, |tables, number, seq| stops::insert(tables, &stop, number, seq))?;
        stop.revision = Some(revision);
        self.tip.book.note_stop(&stop);
        Ok(stop)
    }

    /// Whose token was stopped: whoever stopped it while the store was away could not tell.
    fn name_holder(&self, event: &mut Event) {
        if let (Some(Target::Token(token)), None) = (&event.target, &event.agent)
            && let Ok(Some(issued)) = events::issuance(&self.transaction, *token)
            && let Some(issued) = issued.event()
        {
            (event.agent, event.owner) = (issued.agent, issued.owner);
        }
    }

    fn lift(&mut self, id: StopId, mut lift: Lift, mut event: Event) -> rusqlite::Result<LiftOutcome> {
        let Some(mut stop) = stops::by_id(&self.transaction, id)? else { return Ok(LiftOutcome::Unknown) };
        if stop.lift.is_some() {
            return Ok(LiftOutcome::Already(stop));
        }
        event.kind = Kind::RevocationLifted;
        event.at = lift.at;
        event.target = Some(stop.target.clone());
        event.stop = Some(id);
        event.reason = Some(lift.reason.clone());
        event.operator = Some(lift.operator.clone());
        if let Some(number) = stop.revision {
            self.tip.in_force.toggle(id, &stop.target, number);
        }
        lift.revision = self.next(event, |tables, number, seq| {
            stops::lift(tables, id, &Lift { revision: number, ..lift.clone() }, seq)
        })?;
        stop.lift = Some(lift);
        self.tip.book.note_stop(&stop);
        Ok(LiftOutcome::Now(stop))
    }

    fn end(&mut self, token: TokenId, mut event: Event) -> rusqlite::Result<Revision> {
        let ended = self.ended.iter().find(|(ended, _)| *ended == token);
        if let Some((_, revision)) = ended {
            return Ok(*revision);
        }
        if self.tip.book.has_ended(token) {
            return Ok(self.tip.book.revision());
        }
        event.target = Some(Target::Token(token));
        let revision =
            self.next(event, |tables, number, seq| stops::change(tables, number, seq, Some(token)))?;
        self.ended.push((token, revision));
        Ok(revision)
    }

    fn adopt(&mut self, adoption: Adoption) -> rusqlite::Result<()> {
        // The next number is above all that the lost history gave.
        let point = self.tip.book.point();
        self.tip.book.complete_to(Point { revision: adoption.above.max(point.revision), ..point });
        self.next(adoption.event, |tables, number, seq| stops::change(tables, number, seq, None))?;
        self.tip.book.refuse_below(self.tip.book.revision());
        self.adopts = true;
        for (stop, event) in adoption.stops {
            self.stop(stop, event)?;
        }
        for (id, mut event) in adoption.restated {
            let Some(mut stop) = stops::by_id(&self.transaction, id)?.filter(|stop| stop.lift.is_none())
            else {
                continue;
            };
            event.target = Some(stop.target.clone());
            event.stop = Some(id);
            if let Some(number) = stop.revision {
                self.tip.in_force.toggle(id, &stop.target, number);
            }
            self.tip.in_force.toggle(id, &stop.target, self.tip.book.revision().next());
            let number = self.next(event, |tables, number, seq| stops::restate(tables, id, number, seq))?;
            stop.revision = Some(number);
            self.tip.book.note_stop(&stop);
        }
        Ok(())
    }
}
