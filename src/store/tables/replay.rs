//! What is in force as the log tells it: a start does not trust the tables of the kill switch.
//!
//! Every change above the floor is read from the bytes of its event, and so is the event of each older stop in force.
//! That none of them is missing is told by the numbers, which have no gaps, and by the hash over all stops in force
//! that each change says. The tables must say the same, and the head's floor must be the one that the last change tells.
//!
//! So a start reads the whole table of the stops, lifted ones too, and an event for each stop in force and for each change
//! of the last hours. A stop of a single token is in force until somebody lifts it. The time grows with the number of
//! stops that were ever made, and not with the number of tokens or of other events: those below the floor are not read.

use std::collections::HashMap;

use super::sql::{Sql, values};
use super::stops;
use super::told::{Told, differs};
use crate::domain::digest::Digest;
use crate::domain::event::Kind;
use crate::domain::id::{StopId, TokenId};
use crate::domain::merkle::leaf_hash;
use crate::domain::revocation::{Book, Point, Revision, Stop, Target};
use crate::store::error::StoreError;
use crate::store::in_force::InForce;

/// A stop as its events tell it.
struct Begun {
    target: Target,
    number: Revision,
    lift: Option<Revision>,
}

/// The kill switch as the log tells it, which the tables agree with.
pub(super) struct Replayed {
    pub(super) book: Book,
    pub(super) in_force: InForce,
}

/// What the last change tells.
struct End {
    seq: u64,
    /// The leaf hash of its event.
    mark: Digest,
    /// An earlier hallpass said neither.
    in_force: Option<Digest>,
    floor: Option<Revision>,
}

/// Replays the changes up to `last`, which the head has with this floor.
///
/// # Errors
/// `Differs` where the tables are not what the events say.
pub(super) fn replay(sql: &dyn Sql, last: Revision, floor: Revision) -> Result<Replayed, StoreError> {
    sql.check_stops()?;
    let end = end(sql, last)?;
    // Where the last change does not say them, all changes are replayed.
    let from = end.in_force.and(end.floor).unwrap_or_default();
    let rows = Rows::read(sql, from)?;
    let restored = Revision::ZERO;
    let mut replay = Replay { rows: &rows, stops: HashMap::new(), ended: Vec::new(), last: from, restored };
    replay.base(sql, from)?;
    replay.changes(sql)?;
    if replay.last != last {
        return Err(differs(format!("the change {} is missing", replay.last.next())));
    }
    let in_force = replay.in_force();
    if end.in_force.is_some_and(|said| said != in_force.digest()) {
        let seq = end.seq;
        return Err(differs(format!("the stops in force are not those that the event {seq} counted")));
    }
    // Without the word of a change, only a restoration tells of a floor; that of the head is not relied on.
    let told = end.floor.unwrap_or(replay.restored);
    if floor != told && (end.floor.is_some() || floor < told || floor > last) {
        return Err(differs(format!("tokens are dead below the change {told}, and the head says {floor}")));
    }
    let mut book = Book::default();
    replay.compare(&mut book)?;
    book.complete_to(Point { revision: last, mark: end.mark });
    book.raise_floor(told);
    for (token, number) in &replay.ended {
        book.end(*token, *number);
    }
    Ok(Replayed { book, in_force })
}

/// The event of a change.
const EVENT: &str = "SELECT seq, leaf, bytes FROM changes JOIN events USING (seq) WHERE revision = ?1";

/// Changes that are asked for at once.
pub(super) const PART: u64 = 4096;

fn end(sql: &dyn Sql, last: Revision) -> Result<End, StoreError> {
    let newest = sql.one("SELECT max(revision) FROM changes", &[], |row| row.int_or_none(0))?.flatten();
    if newest.map_or(Revision::ZERO, |newest| Revision::new(newest.unsigned_abs())) != last {
        return Err(differs(format!("the head counts {last} changes, and the last one is another")));
    }
    if last == Revision::ZERO {
        let in_force = Some(InForce::default().digest());
        return Ok(End { seq: 0, mark: Point::ZERO.mark, in_force, floor: Some(Revision::ZERO) });
    }
    let found = sql.one(EVENT, values![last], |row| {
        Ok((row.number(0)?, row.digest(1)?, row.text_if_any(2).to_owned()))
    })?;
    let (seq, leaf, bytes) = found.ok_or_else(|| differs(format!("the change {last} has no event")))?;
    let told = Told::of(seq, &bytes, leaf)?;
    if told.revision.is_some_and(|said| said != last) || told.floor.is_some_and(|floor| floor > last) {
        return Err(differs(format!("the event {seq} is said to be the change {last}, and is not")));
    }
    let in_force = told.in_force.map(str::parse).transpose();
    let in_force = in_force.map_err(|_| differs(format!("the event {seq} does not say what is in force")))?;
    Ok(End { seq, mark: leaf_hash(bytes.as_bytes()), in_force, floor: told.floor })
}

/// The rows that can still tell something: what is in force, or was lifted later than a revision.
struct Rows {
    stops: Vec<Stop>,
    /// By the `seq` of their events. An earlier hallpass's events do not say which stop they are of.
    began: HashMap<u64, StopId>,
    lifted: HashMap<u64, StopId>,
}

impl Rows {
    /// All columns of all rows: no index has them, so it is the table itself that is read.
    fn read(sql: &dyn Sql, from: Revision) -> Result<Self, StoreError> {
        let mut rows = Self { stops: Vec::new(), began: HashMap::new(), lifted: HashMap::new() };
        sql.each(&format!("{}, seq, lift_seq FROM stops", stops::COLUMNS), &[], |row| {
            let seq = row.number(10).unwrap_or(0);
            let stop = stops::read(row)
                .map_err(|error| differs(format!("the stop of the event {seq} cannot be read: {error}")))?;
            if from > Revision::ZERO && stop.lift.as_ref().is_some_and(|lift| lift.revision <= from) {
                return Ok(());
            }
            rows.began.insert(seq, stop.id);
            let lift = row.int_or_none(11)?;
            rows.lifted.extend(lift.map(|seq| (seq.unsigned_abs(), stop.id)));
            rows.stops.push(stop);
            Ok(())
        })?;
        Ok(rows)
    }
}

struct Replay<'a> {
    rows: &'a Rows,
    stops: HashMap<StopId, Begun>,
    ended: Vec<(TokenId, Revision)>,
    last: Revision,
    /// The number of the last restoration.
    restored: Revision,
}

impl Replay<'_> {
    /// The stops that were in force at the revision `from`, each by the event of its number.
    fn base(&mut self, sql: &dyn Sql, from: Revision) -> Result<(), StoreError> {
        for stop in &self.rows.stops {
            let Some(number) = stop.revision.filter(|number| *number <= from) else { continue };
            let found = sql.one(EVENT, values![number], |row| {
                Ok((row.number(0)?, row.digest(1)?, row.text_if_any(2).to_owned()))
            })?;
            let (seq, leaf, bytes) =
                found.ok_or_else(|| differs(format!("the change {number} has no event")))?;
            let told = Told::of(seq, &bytes, leaf)?;
            let id = told.stop.and_then(|id| id.parse().ok()).or_else(|| self.rows.began.get(&seq).copied());
            let same = told.kind == Kind::RevocationStopped
                && id == Some(stop.id)
                && told.target().as_ref() == Some(&stop.target)
                && told.revision.is_none_or(|said| said == number);
            if !same {
                return Err(differs(format!("the stop {} is not the one of the event {seq}", stop.id)));
            }
            self.stops.insert(stop.id, Begun { target: stop.target.clone(), number, lift: None });
        }
        Ok(())
    }

    fn changes(&mut self, sql: &dyn Sql) -> Result<(), StoreError> {
        let changes =
            "SELECT revision, changes.seq, ended, leaf, bytes FROM changes LEFT JOIN events USING (seq)
                       WHERE revision > ?1 ORDER BY revision LIMIT ?2";
        let mut part = PART;
        while part == PART {
            part = 0;
            sql.each(changes, values![self.last, PART], |row| {
                part += 1;
                let told = Told::of(row.number(1)?, row.text_if_any(4), row.digest(3)?)?;
                self.change(row.revision(0)?, &told, row.text_or_none(2)?)
            })?;
        }
        Ok(())
    }

    fn change(&mut self, number: Revision, told: &Told<'_>, ended: Option<&str>) -> Result<(), StoreError> {
        let seq = told.seq;
        let wrong =
            |what: &str| differs(format!("the event {seq} is said to be the change {number}: {what}"));
        let is_next = number == self.last.next() || told.kind == Kind::StoreRestored;
        if !is_next || told.revision.is_some_and(|said| said != number) {
            return Err(wrong("it is not, or one before it is missing"));
        }
        self.last = number;
        if told.ends() {
            let token = told.target.and_then(|target| target.strip_prefix("token:"));
            if token != ended {
                return Err(wrong("another token ended by it"));
            }
            let token =
                token.and_then(|token| token.parse().ok()).ok_or_else(|| wrong("it names no token"))?;
            self.ended.push((token, number));
            return Ok(());
        }
        if ended.is_some() {
            return Err(wrong("no token ended by it"));
        }
        let said = told.stop.and_then(|id| id.parse().ok());
        match told.kind {
            Kind::RevocationStopped => {
                let id = said.or_else(|| self.rows.began.get(&seq).copied());
                let (Some(id), Some(target)) = (id, told.target()) else {
                    return Err(wrong("the stop that it began is missing"));
                };
                self.stops.insert(id, Begun { target, number, lift: None });
            }
            Kind::RevocationLifted => {
                let id = said.or_else(|| self.rows.lifted.get(&seq).copied());
                let stop = id.and_then(|id| self.stops.get_mut(&id)).filter(|stop| stop.lift.is_none());
                let stop = stop.filter(|stop| told.target().as_ref() == Some(&stop.target));
                stop.ok_or_else(|| wrong("the stop that it lifted is not in force"))?.lift = Some(number);
            }
            Kind::StoreRestored => self.restored = number,
            _ => return Err(wrong("it changes nothing")),
        }
        Ok(())
    }

    fn in_force(&self) -> InForce {
        let mut in_force = InForce::default();
        for (id, stop) in self.stops.iter().filter(|(_, stop)| stop.lift.is_none()) {
            in_force.toggle(*id, &stop.target, stop.number);
        }
        in_force
    }

    /// Notes each row that is what the events told of it; another one, or one too few, is a difference.
    fn compare(&self, book: &mut Book) -> Result<(), StoreError> {
        for stop in &self.rows.stops {
            let same = self.stops.get(&stop.id).is_some_and(|told| {
                told.target == stop.target
                    && Some(told.number) == stop.revision
                    && told.lift == stop.lift.as_ref().map(|lift| lift.revision)
            });
            if !same {
                let (id, target) = (stop.id, &stop.target);
                return Err(differs(format!("the stop {id} of {target} is not what the log tells of it")));
            }
            book.note_stop(stop);
        }
        if self.rows.stops.len() == self.stops.len() {
            return Ok(());
        }
        let there: std::collections::HashSet<StopId> = self.rows.stops.iter().map(|stop| stop.id).collect();
        let missing = self.stops.iter().find(|(id, _)| !there.contains(id));
        let missing = missing.map_or_else(String::new, |(id, stop)| format!("{id} of {}", stop.target));
        Err(differs(format!("the stop {missing} is missing")))
    }
}
