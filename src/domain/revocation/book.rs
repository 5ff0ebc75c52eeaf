//! Every standing that can still tell something, and the verdict over it.

use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::ended::Ended;
use crate::domain::revocation::{Levels, Point, Revision, Standing, Stop, Target};

/// What is known of the kill switch up to a revision. A clone costs nothing: what both have in common is shared.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Every change up to this one is in it.
    point: Point,
    /// A token that was decided before this change is dead: it has long expired.
    floor: Revision,
    standings: HashTrieMapSync<Target, Standing>,
    /// The standings in the order of their last changes.
    order: RedBlackTreeSetSync<(Revision, Target)>,
    ended: Ended,
    /// Stops that the store could not number yet. They cover every token, whenever it was decided.
    unnumbered: HashTrieMapSync<Target, StopId>,
}

impl Book {
    /// A book of these standings, complete up to `point`.
    pub fn of(
        point: Point,
        floor: Revision,
        standings: impl IntoIterator<Item = (Target, Standing)>,
    ) -> Self {
        let mut book = Self::default();
        for (target, standing) in standings {
            book.note(target, standing);
        }
        book.complete_to(point);
        book.raise_floor(floor);
        book
    }

    pub fn point(&self) -> Point {
        self.point
    }

    pub fn revision(&self) -> Revision {
        self.point.revision
    }

    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// Merges what is known of `target`, and says whether that was news.
    pub fn note(&mut self, target: Target, standing: Standing) -> bool {
        let known = self.standings.get(&target).copied();
        if known.is_some_and(|known| known.merge(standing) == known) {
            return false;
        }
        if let Some(known) = known {
            self.order.remove_mut(&(known.changed, target.clone()));
        }
        if standing.is_spent(&target, self.floor) {
            return self.standings.remove_mut(&target);
        }
        self.order.insert_mut((standing.changed, target.clone()));
        self.standings.insert_mut(target, standing);
        true
    }

    /// Merges a stop or its lift.
    pub fn note_stop(&mut self, stop: &Stop) {
        match stop.standing() {
            Some(standing) => drop(self.note(stop.target.clone(), standing)),
            None => self.unnumbered.insert_mut(stop.target.clone(), stop.id),
        }
    }

    /// Notes a stop that has no number yet.
    pub fn note_unnumbered(&mut self, target: Target, id: StopId) {
        self.unnumbered.insert_mut(target, id);
    }

    /// Forgets a stop that had no number: it has one now, and its standing was noted before.
    pub fn forget_unnumbered(&mut self, target: &Target, id: StopId) {
        if self.unnumbered.get(target) == Some(&id) {
            self.unnumbered.remove_mut(target);
        }
    }

    /// The stop without a number of `target`.
    pub fn unnumbered_of(&self, target: &Target) -> Option<StopId> {
        self.unnumbered.get(target).copied()
    }

    /// Forgets every stop without a number: what of them still holds is noted again.
    pub fn clear_unnumbered(&mut self) {
        self.unnumbered = HashTrieMapSync::default();
    }

    pub fn unnumbered(&self) -> impl Iterator<Item = (&Target, &StopId)> {
        self.unnumbered.iter()
    }

    /// Notes that the holder of `token` ended it. Every copy of this book shares it.
    pub fn end(&self, token: TokenId, revision: Revision) {
        if revision > self.floor {
            self.ended.add(token, revision);
        }
    }

    /// Merges all that `other`, a book of the same history, knows.
    pub fn merge(&mut self, other: &Self) {
        if other.revision() >= self.newest() {
            // It holds every change that this one does: what both have in common is shared from now on.
            let (unnumbered, floor) = (std::mem::take(&mut self.unnumbered), self.floor);
            *self = other.clone();
            self.raise_floor(floor);
            for (target, id) in &unnumbered {
                self.unnumbered.insert_mut(target.clone(), *id);
            }
            return;
        }
        for (target, standing) in other.after(self.revision()) {
            self.note(target.clone(), standing);
        }
        for (revision, token) in other.ended_after(self.revision(), usize::MAX) {
            self.end(token, revision);
        }
        for (target, id) in other.unnumbered() {
            self.note_unnumbered(target.clone(), *id);
        }
        self.complete_to(other.point());
        self.raise_floor(other.floor);
    }

    /// The last change that is noted, which may be above the point up to which it is complete.
    pub fn newest(&self) -> Revision {
        let last = self.order.last().map_or(Revision::ZERO, |(changed, _)| *changed);
        last.max(self.ended.newest()).max(self.revision())
    }

    /// Every change up to `point` has been noted.
    pub fn complete_to(&mut self, point: Point) {
        if point.revision > self.point.revision {
            self.point = point;
        }
    }

    /// Tokens that were decided before `floor` have expired long ago: drops what could only tell of them.
    pub fn raise_floor(&mut self, floor: Revision) {
        if floor > self.floor {
            self.refuse_below(floor);
            self.forget_ended();
        }
    }

    /// Drops the ended tokens that the floor has made superfluous, for every copy of this book.
    pub fn forget_ended(&self) {
        self.ended.forget(self.floor);
    }

    /// The first half of [`Self::raise_floor`], which concerns this copy alone.
    pub fn refuse_below(&mut self, floor: Revision) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let spent: Vec<(Revision, Target)> = self
            .order
            .range(..first_after(floor))
            .filter(|(_, target)| self.get(target).is_some_and(|standing| standing.is_spent(target, floor)))
            .cloned()
            .collect();
        for entry in spent {
            self.order.remove_mut(&entry);
            self.standings.remove_mut(&entry.1);
        }
    }

    pub fn get(&self, target: &Target) -> Option<Standing> {
        self.standings.get(target).copied()
    }

    pub fn has_ended(&self, token: TokenId) -> bool {
        self.ended.contains(token)
    }

    /// How many standings and ended tokens it holds.
    pub fn len(&self) -> (usize, usize) {
        (self.standings.size(), self.ended.len())
    }

    /// Every standing, in the order of the last changes.
    pub fn standings(&self) -> impl Iterator<Item = (&Target, Standing)> {
        self.after(Revision::ZERO)
    }

    /// The standings that changed after `revision`, in order.
    pub fn after(&self, revision: Revision) -> impl Iterator<Item = (&Target, Standing)> {
        self.order.range(first_after(revision)..).filter_map(|(_, target)| Some((target, self.get(target)?)))
    }

    /// The tokens that ended after `revision`, in order, at most `limit`.
    pub fn ended_after(&self, revision: Revision, limit: usize) -> Vec<(Revision, TokenId)> {
        self.ended.after(revision, limit)
    }

    pub fn verdict(&self, levels: &Levels) -> Verdict {
        Verdict::of(levels, &[self])
    }
}

/// What is known of the levels of one token or request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The widest level that is stopped now.
    pub stopped: Option<Target>,
    /// Whether a token among the levels is dead without a stop in force: it was stopped or ended since it was
    /// decided, or its `as_of` cannot be.
    pub overtaken: bool,
    /// What a token carries that is decided by this.
    pub as_of: Revision,
}

impl Verdict {
    /// What these books say together of `levels`: of each target the later standing, and everything that only one of
    /// them knows.
    pub fn of(levels: &Levels, books: &[&Book]) -> Self {
        let as_of = books.iter().map(|book| book.revision()).max().unwrap_or_default();
        let floor = books.iter().map(|book| book.floor).max().unwrap_or_default();
        let mut verdict = Self { stopped: None, overtaken: false, as_of };
        let mut rank = usize::MAX;
        let everything = standing(books, &Target::Everything);
        if everything.in_force {
            verdict.stopped = Some(Target::Everything);
            rank = 0;
        }
        for link in levels.links() {
            let mut last_stop = everything.last_stop;
            for (n, target) in link.targets().into_iter().enumerate() {
                let Some(target) = target else { continue };
                let found = standing(books, &target);
                last_stop = last_stop.max(found.last_stop);
                if found.in_force && n + 1 < rank {
                    verdict.stopped = Some(target);
                    rank = n + 1;
                }
            }
            if let Some((token, decided)) = link.token {
                let ended = books.iter().any(|book| book.ended.kills(token, decided));
                // A number that the store has not reached is of a store that was lost.
                verdict.overtaken |= ended || last_stop > decided || decided < floor || decided > as_of;
            }
        }
        verdict
    }

    /// Whether these books together have `target` stopped.
    pub fn is_stopped(target: &Target, books: &[&Book]) -> bool {
        standing(books, target).in_force
    }

    /// Whether the token is dead, or a request must be refused.
    pub fn is_dead(&self) -> bool {
        self.stopped.is_some() || self.overtaken
    }
}

/// Before every entry that changed after `revision`.
fn first_after(revision: Revision) -> (Revision, Target) {
    (revision.next(), Target::Token(TokenId::NIL))
}

struct Found {
    in_force: bool,
    last_stop: Revision,
}

fn standing(books: &[&Book], target: &Target) -> Found {
    // Most books are empty, and need no hash of the target.
    let known = books.iter().filter(|book| !book.standings.is_empty());
    let merged = known.filter_map(|book| book.get(target)).reduce(Standing::merge);
    let unnumbered =
        books.iter().any(|book| !book.unnumbered.is_empty() && book.unnumbered.contains_key(target));
    Found {
        in_force: unnumbered || merged.is_some_and(|standing| standing.stop.is_some()),
        last_stop: merged.map_or(Revision::ZERO, |standing| standing.stopped),
    }
}
