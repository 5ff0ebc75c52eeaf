//! One transaction of the writer: what each kind of write does in it.

use std::sync::Arc;

use super::blocks::{self, Entry};
use super::draft::Draft;
use super::rows::{EventRow, Journal, Rows};
use super::sql::{Sql, values};
use super::tip::Tip;
use super::{again, events, keys, meta, stops};
use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter, Kind};
use crate::domain::id::{StopId, TokenId};
use crate::domain::merkle::{TILE_HEIGHT, leaf_hash};
use crate::domain::receipt::Receipt;
use crate::domain::revocation::{Levels, Lift, Point, Revision, Stop, Target, Verdict};
use crate::domain::signing::{KeyRecord, SealedKey};
use crate::store::error::StoreError;
use crate::store::write::{Adoption, Issuance, LiftOutcome, Write, Written};

/// A write as the writer takes it: what can be made by the caller's task is made.
pub(in crate::store) enum Job {
    Event(Draft),
    Issuance {
        draft: Draft,
        token_sha256: Digest,
        levels: Arc<Levels>,
    },
    PutKey {
        key: SealedKey,
        known: Vec<String>,
        draft: Draft,
    },
    RemoveKey {
        kid: String,
        draft: Draft,
    },
    /// What is completed within the transaction.
    Other(Box<Write>),
}

impl Job {
    pub(in crate::store) fn of(write: Write) -> Self {
        match write {
            Write::Event(event) => Self::Event(Draft::of(&event)),
            Write::Issuance { event, levels } => Self::Issuance {
                token_sha256: event.token_sha256.unwrap_or(Digest([0; 32])),
                draft: Draft::of(&event),
                levels,
            },
            Write::PutKey { key, known, mut event } => {
                event.keys = vec![KeyRecord::from(&key)];
                Self::PutKey { key, known, draft: Draft::of(&event) }
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
pub(in crate::store) struct Batch<'a> {
    journal: &'a dyn Journal,
    tip: Tip,
    /// What is not written yet.
    rows: Rows,
    /// How many events there were before it.
    size: u64,
    after: After,
}

/// What becomes of the book once the batch is durable.
#[derive(Default)]
struct After {
    /// Tokens that ended: every copy of the book shares them.
    ended: Vec<(TokenId, Revision)>,
    /// Whether all tokens that were decided before are dead: what the floor makes superfluous is dropped alike.
    adopts: bool,
}

/// A batch that was run to its end: what is still to be written with its commit, and the tip once it is durable.
pub(in crate::store) struct Done {
    pub(in crate::store) rows: Rows,
    tip: Tip,
    after: After,
}

impl Done {
    /// The new end of the log, which is durable now.
    pub(in crate::store) fn into_tip(self) -> Tip {
        for (token, revision) in self.after.ended {
            self.tip.book.end(token, revision);
        }
        let tip = self.tip;
        if self.after.adopts {
            tip.book.forget_ended();
        }
        tip
    }
}

impl<'a> Batch<'a> {
    /// Within a transaction that nobody else can write beside, on the log that ends with `tip`.
    pub(in crate::store) fn new(journal: &'a dyn Journal, tip: Tip) -> Self {
        let size = tip.frontier.size();
        Self { journal, tip, rows: Rows::default(), size, after: After::default() }
    }

    pub(in crate::store) fn finish(mut self) -> Done {
        if self.tip.frontier.size() != self.size {
            self.rows.head = Some(self.tip.head());
        }
        Done { rows: self.rows, tip: self.tip, after: self.after }
    }

    #[cfg(test)]
    pub(in crate::store) fn connection(&self) -> &dyn std::any::Any {
        self.journal.connection()
    }

    /// Writes what there is, before whoever reads it.
    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.rows.is_empty() {
            self.journal.write(&std::mem::take(&mut self.rows))?;
        }
        Ok(())
    }

    pub(in crate::store) fn run(&mut self, job: Job) -> Result<Written, StoreError> {
        Ok(match job {
            Job::Event(draft) => Written::Event(self.append(draft)?.0),
            Job::Issuance { draft, token_sha256, levels } => {
                Written::Issuance(self.issue(draft, token_sha256, &levels)?)
            }
            Job::PutKey { key, known, draft } => {
                let present = keys::list(self.journal)?;
                let mut rivals = present.iter().filter(|other| other.purpose == key.purpose);
                if rivals.any(|other| other.kid != key.kid && !known.contains(&other.kid)) {
                    return Ok(Written::Key(false));
                }
                keys::put(self.journal, &key)?;
                self.append(draft)?;
                Written::Key(true)
            }
            Job::RemoveKey { kid, draft } => {
                if keys::list(self.journal)?.iter().any(|key| key.kid == kid) {
                    keys::remove(self.journal, &kid)?;
                    self.append(draft)?;
                }
                Written::Done
            }
            Job::Other(write) => return self.change(*write),
        })
    }

    fn change(&mut self, write: Write) -> Result<Written, StoreError> {
        Ok(match write {
            Write::Stop { stop, event } => Written::Stop(self.stop(stop, event)?),
            Write::Lift { id, lift, event, known } => {
                let is_overtaken = known.map_or(Ok(false), |known| self.tells_more(id, known))?;
                let lifted = if is_overtaken { LiftOutcome::Overtaken } else { self.lift(id, lift, event)? };
                Written::Lift(lifted)
            }
            Write::End { token, event } => Written::End(self.end(token, event)?),
            Write::Adopt(adoption) => {
                self.adopt(*adoption)?;
                Written::Done
            }
            Write::Reread => {
                self.flush()?;
                self.tip.reread(self.journal)?;
                Written::Done
            }
            Write::SetOrigin { origin, event } => Written::Origin(self.set_origin(origin, event)?),
            // The others are jobs of their own.
            whole => return self.run(Job::of(whole)),
        })
    }

    /// Names the log, and tells of it and of every key in an event, unless one did.
    fn set_origin(&mut self, origin: String, mut event: Event) -> Result<String, StoreError> {
        let origin = meta::set(self.journal, "origin", origin)?;
        self.flush()?;
        let told = EventFilter { kind: Some(Kind::LogNamed), ..EventFilter::default() };
        if events::newest(self.journal, &self.tip.head(), &told)?.is_none() {
            event.origin = Some(origin.clone());
            event.keys = keys::list(self.journal)?.iter().map(KeyRecord::from).collect();
            self.append(Draft::of(&event))?;
        }
        Ok(origin)
    }

    /// Gives the event's `seq` and its leaf hash.
    fn append(&mut self, draft: Draft) -> Result<(u64, Digest), StoreError> {
        let seq = self.tip.frontier.size() + 1;
        let bytes = draft.bytes(seq);
        let Draft { columns, terms, .. } = draft;
        let leaf = leaf_hash(bytes.as_bytes());
        let at = columns.at;
        self.rows.events.push(EventRow { seq, leaf, columns, bytes });
        self.tip.frontier.append_with(leaf, |node, hash| {
            if node.level.is_multiple_of(TILE_HEIGHT) {
                self.rows.tiles.push((node, *hash));
            }
        });
        self.tip.span.note(at);
        Arc::make_mut(&mut self.tip.open).note(at, &terms);
        if seq.is_multiple_of(blocks::SIZE) {
            self.enter_block(blocks::of_seq(seq))?;
        }
        Ok((seq, leaf))
    }

    /// Enters the block, which is full now.
    fn enter_block(&mut self, block: u64) -> Result<(), StoreError> {
        let noted = std::mem::take(&mut self.tip.open);
        let entry = if noted.is_whole() {
            noted
        } else {
            // Another node appended some of its events.
            self.flush()?;
            Arc::new(Entry::of(self.journal, block, self.tip.frontier.size())?)
        };
        self.rows.blocks.push(entry.row(self.journal, block));
        Ok(())
    }

    /// Stops and issuances go through this one thread, so none of the latter is ordered after a stop
    /// that covers it, not even within a batch.
    fn issue(&mut self, draft: Draft, token_sha256: Digest, levels: &Levels) -> Result<Issuance, StoreError> {
        let mut verdict = Verdict::of(levels, &[&self.tip.book]);
        let ends_here = |token| self.after.ended.iter().any(|(ended, _)| *ended == token);
        verdict.overtaken |= levels.links().filter_map(|link| link.token).any(|(token, _)| ends_here(token));
        if verdict.is_dead() {
            return Ok(Issuance::Dead(verdict));
        }
        Ok(Issuance::Recorded(Receipt::of_durable(self.append(draft)?.0, token_sha256)))
    }

    /// Appends the event of the next change, by which `ended` ended.
    fn next(&mut self, mut event: Event, ended: Option<TokenId>) -> Result<(Revision, u64), StoreError> {
        let revision = self.tip.book.revision().next();
        event.revision = Some(revision);
        event.in_force = Some(self.tip.in_force.digest());
        // The head has the floor of the last change's event, so that nobody can change it alone.
        let is_restored = event.kind == Kind::StoreRestored;
        self.tip.floor = if is_restored { revision } else { self.tip.book.floor() };
        event.floor = Some(self.tip.floor);
        let (seq, mark) = self.append(Draft::of(&event))?;
        self.rows.changes.push((revision, seq, ended));
        self.tip.book.complete_to(Point { revision, mark });
        Ok((revision, seq))
    }

    fn stop(&mut self, mut stop: Stop, mut event: Event) -> Result<Stop, StoreError> {
        self.flush()?;
        let size = self.tip.frontier.size();
        let id = again::in_place_of(self.journal, size, stop.id)?.unwrap_or(stop.id);
        if let Some(known) = stops::by_id(self.journal, id)? {
            return Ok(known);
        }
        event.target = Some(stop.target.clone());
        self.name_holder(&mut event);
        if let Some(active) = stops::active(self.journal, &stop.target)? {
            event.stop = Some(active.id);
            event.again = Some(stop.id);
            event.as_of = Some(self.tip.book.revision());
            self.append(Draft::of(&event))?;
            return Ok(active);
        }
        stop.lift = None;
        stop.reason = without_nul(stop.reason);
        event.at = stop.at;
        event.stop = Some(stop.id);
        event.reason = Some(stop.reason.clone());
        event.operator.clone_from(&stop.operator);
        self.tip.in_force.toggle(stop.id, &stop.target, self.tip.book.revision().next());
        let (revision, seq) = self.next(event, None)?;
        stops::insert(self.journal, &stop, revision, seq)?;
        stop.revision = Some(revision);
        self.tip.book.note_stop(&stop);
        Ok(stop)
    }

    /// Whose token was stopped: whoever stopped it while the store was away could not tell.
    fn name_holder(&self, event: &mut Event) {
        if let (Some(Target::Token(token)), None) = (&event.target, &event.agent)
            && let Ok(Some(issued)) = events::issuance(self.journal, *token)
            && let Some(issued) = issued.event()
        {
            (event.agent, event.owner) = (issued.agent, issued.owner);
        }
    }

    /// Whether an event after the first `known` ones is about the stop.
    fn tells_more(&mut self, id: StopId, known: u64) -> Result<bool, StoreError> {
        self.flush()?;
        let later = "SELECT bytes FROM events WHERE seq > ?1 AND kind IN (?2, ?3)";
        let kinds = [Kind::RevocationStopped, Kind::RevocationScheduled].map(Kind::as_str);
        // Within a string of the event its quotes would be escaped.
        let said = format!("\"stop\":\"{id}\"");
        let mut found = false;
        let journal: &dyn Sql = self.journal;
        journal.each(later, values![known, kinds[0], kinds[1]], |row| {
            found |= row.text_if_any(0).contains(&said);
            Ok(())
        })?;
        Ok(found)
    }

    fn lift(&mut self, id: StopId, mut lift: Lift, mut event: Event) -> Result<LiftOutcome, StoreError> {
        let Some(mut stop) = stops::by_id(self.journal, id)? else { return Ok(LiftOutcome::Unknown) };
        if stop.lift.is_some() {
            return Ok(LiftOutcome::Already(stop));
        }
        lift.reason = without_nul(lift.reason);
        event.kind = Kind::RevocationLifted;
        event.at = lift.at;
        event.target = Some(stop.target.clone());
        event.stop = Some(id);
        event.reason = Some(lift.reason.clone());
        event.operator = Some(lift.operator.clone());
        if let Some(number) = stop.revision {
            self.tip.in_force.toggle(id, &stop.target, number);
        }
        let (revision, seq) = self.next(event, None)?;
        lift.revision = revision;
        stops::lift(self.journal, id, &lift, seq)?;
        stop.lift = Some(lift);
        self.tip.book.note_stop(&stop);
        Ok(LiftOutcome::Now(stop))
    }

    fn end(&mut self, token: TokenId, mut event: Event) -> Result<Revision, StoreError> {
        let ended = self.after.ended.iter().find(|(ended, _)| *ended == token);
        if let Some((_, revision)) = ended {
            return Ok(*revision);
        }
        if self.tip.book.has_ended(token) {
            return Ok(self.tip.book.revision());
        }
        event.target = Some(Target::Token(token));
        let (revision, _) = self.next(event, Some(token))?;
        self.after.ended.push((token, revision));
        Ok(revision)
    }

    fn adopt(&mut self, adoption: Adoption) -> Result<(), StoreError> {
        // The next number is above all that the lost history gave.
        let point = self.tip.book.point();
        self.tip.book.complete_to(Point { revision: adoption.above.max(point.revision), ..point });
        self.next(adoption.event, None)?;
        self.tip.book.refuse_below(self.tip.book.revision());
        self.after.adopts = true;
        for (stop, event) in adoption.stops {
            self.stop(stop, event)?;
        }
        for (id, mut event) in adoption.restated {
            let Some(mut stop) = stops::by_id(self.journal, id)?.filter(|stop| stop.lift.is_none()) else {
                continue;
            };
            event.target = Some(stop.target.clone());
            event.stop = Some(id);
            if let Some(number) = stop.revision {
                self.tip.in_force.toggle(id, &stop.target, number);
            }
            self.tip.in_force.toggle(id, &stop.target, self.tip.book.revision().next());
            let (number, _) = self.next(event, None)?;
            stops::restate(self.journal, id, number)?;
            stop.revision = Some(number);
            self.tip.book.note_stop(&stop);
        }
        Ok(())
    }
}

/// A reason comes from Redis or a file, too, and PostgreSQL's text holds no NUL: the whole batch would fail.
fn without_nul(reason: String) -> String {
    if reason.contains('\0') { reason.replace('\0', "\u{fffd}") } else { reason }
}
