//! Three nodes, the store that they share, and the authority between them. What is known and what is judged by it are
//! the real `Book` and `Verdict`; who tells whom what, and when, are the rules of `broker::kill_switch` and `revocation`,
//! without the waiting.

use std::collections::{BTreeMap, BTreeSet};

use hallpass::domain::digest::Digest;
use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{Book, Levels, Point, Revision, Standing, Target, Verdict};
use hallpass::domain::time::Timestamp;

/// A book that shares nothing with the one it is a copy of, as what is on another disk does not.
pub(super) fn copied(book: &Book) -> Book {
    let standings: Vec<_> = book.standings().map(|(target, one)| (target.clone(), one)).collect();
    let mut copy = Book::of(book.point(), book.floor(), standings);
    for (revision, token) in book.ended_after(Revision::ZERO, usize::MAX) {
        copy.end(token, revision);
    }
    for (target, id) in book.unnumbered() {
        copy.note_unnumbered(target.clone(), *id);
    }
    copy
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) book: Book,
    marks: BTreeMap<Revision, Digest>,
    /// Every stop that has a number.
    numbered: BTreeSet<StopId>,
    /// How often it was restored: the marks of two histories differ.
    era: u32,
    pub(super) full: bool,
}

impl Store {
    fn next(&mut self) -> Revision {
        let revision = self.book.revision().next();
        let mark = Digest::of(format!("{} {revision}", self.era).as_bytes());
        self.marks.insert(revision, mark);
        self.book.complete_to(Point { revision, mark });
        revision
    }

    fn has(&self, point: Point) -> bool {
        point.revision == Revision::ZERO || self.marks.get(&point.revision) == Some(&point.mark)
    }

    /// The number of the stop, unless the target is stopped already.
    pub(super) fn stop(&mut self, target: &Target, id: StopId) -> Option<Revision> {
        if self.book.get(target).is_some_and(|known| known.stop.is_some()) {
            return None;
        }
        let now = self.next();
        self.numbered.insert(id);
        self.book.note(target.clone(), Standing { stop: Some(id), stopped: now, changed: now });
        Some(now)
    }

    pub(super) fn lift(&mut self, target: &Target) -> bool {
        let Some(known) = self.book.get(target).filter(|known| known.stop.is_some()) else { return false };
        let changed = self.next();
        self.book.note(target.clone(), Standing { stop: None, stopped: known.stopped, changed })
    }

    pub(super) fn end(&mut self, token: TokenId) {
        if !self.book.has_ended(token) {
            let now = self.next();
            self.book.end(token, now);
        }
    }

    pub(super) fn copy(&self) -> Self {
        let (marks, numbered) = (self.marks.clone(), self.numbered.clone());
        Self { book: copied(&self.book), marks, numbered, era: self.era + 1, full: false }
    }

    fn adopt(&mut self, theirs: &Book) {
        let ours = self.book.clone();
        let above = Revision::new(ours.revision().max(theirs.revision()).number() + 1_000_000);
        self.book.complete_to(Point { revision: above, ..ours.point() });
        let now = self.next();
        self.book.raise_floor(now);
        for (target, standing) in theirs.standings() {
            if let Some(id) = standing.stop {
                self.stop(target, id);
            }
        }
        for (target, standing) in ours.standings() {
            if let (Some(id), true) = (standing.stop, theirs.get(target) != Some(standing)) {
                let now = self.next();
                self.book.note(target.clone(), Standing { stop: Some(id), stopped: now, changed: now });
            }
        }
    }
}

/// What Redis holds.
pub(super) struct Authority {
    life: u32,
    serial: u32,
    pub(super) book: Book,
}

impl Authority {
    pub(super) fn copy(&self) -> Self {
        Self { life: self.life, serial: self.serial, book: copied(&self.book) }
    }
}

#[derive(Default)]
pub(super) struct Node {
    pub(super) view: Book,
    /// The life, the writes and the revision of the authority that it has seen.
    reached: Option<(u32, u32, Revision)>,
    pub(super) cut_off: bool,
    /// Stops that wait for the store: a file keeps them over a restart.
    pub(super) waiting: Vec<(Target, StopId)>,
    /// Stops whose numbers the authority has not been told.
    pub(super) untold: Vec<(Target, StopId)>,
    /// Milliseconds; set at random.
    pub(super) wall: i64,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) authority: Option<Authority>,
    pub(super) nodes: [Node; 3],
    lives: u32,
    ids: u32,
    pub(super) takeovers: u32,
}

/// The authority is of a history that the store has lost.
struct Ahead;

impl World {
    /// As the node's clock and its randomness make it.
    fn random(&mut self, n: usize) -> (Timestamp, [u8; 10]) {
        self.ids += 1;
        let [a, b, c, d] = self.ids.to_be_bytes();
        (Timestamp::from_millis(self.nodes[n].wall.max(0)), [0, 0, 0, 0, 0, 0, a, b, c, d])
    }

    pub(super) fn stop_id(&mut self, n: usize) -> StopId {
        let (at, random) = self.random(n);
        StopId::new(at, &random)
    }

    pub(super) fn token_id(&mut self, n: usize) -> TokenId {
        let (at, random) = self.random(n);
        TokenId::new(at, &random)
    }

    fn push(&mut self, n: usize, over: bool) -> Result<(), Ahead> {
        let (node, store) = (&mut self.nodes[n], &self.store);
        node.view.merge(&store.book);
        let before = node.reached;
        let mut anew = self.authority.is_none();
        let authority =
            self.authority.get_or_insert_with(|| Authority { life: 0, serial: 0, book: Book::default() });
        if !anew && !over {
            let point = authority.book.point();
            if !store.has(point) || point.revision > store.book.revision() {
                return Err(Ahead);
            }
            anew = before.is_some_and(|(life, serial, revision)| {
                life == authority.life && (serial > authority.serial || revision > point.revision)
            });
        }
        if anew {
            self.lives += 1;
            (authority.life, authority.serial) = (self.lives, 0);
        }
        // What the store has not is over: it forgets lifts in time, and never a stop in force.
        let theirs = authority.book.revision();
        if theirs < store.book.floor() {
            let stops = authority.book.standings().map(|(target, one)| (target.clone(), one));
            let over = stops.filter(|(target, one)| {
                let is_gone = one.stop.is_some() && one.changed <= theirs && store.book.get(target).is_none();
                is_gone && !matches!(target, Target::Token(_))
            });
            for (target, one) in over.collect::<Vec<_>>() {
                authority.book.note(target, Standing { stop: None, changed: store.book.floor(), ..one });
            }
        }
        let another = before.is_none_or(|(life, ..)| life != authority.life);
        let after = if over { Revision::ZERO } else { authority.book.revision() };
        for (target, standing) in store.book.after(after) {
            authority.book.note(target.clone(), standing);
        }
        for (revision, token) in store.book.ended_after(after, usize::MAX) {
            authority.book.end(token, revision);
        }
        for (target, id) in node.untold.drain(..) {
            authority.book.forget_unnumbered(&target, id);
            node.view.forget_unnumbered(&target, id);
        }
        let known = node.view.unnumbered().filter(|_| another).map(|(target, id)| (target.clone(), *id));
        for (target, id) in known.collect::<Vec<_>>().into_iter().chain(node.waiting.iter().cloned()) {
            if authority.book.unnumbered_of(&target).is_none() {
                authority.book.note_unnumbered(target, id);
            }
        }
        authority.book.complete_to(store.book.point());
        authority.book.raise_floor(store.book.floor());
        authority.serial += 1;
        node.reached = Some((authority.life, authority.serial, authority.book.revision()));
        Ok(())
    }

    /// Makes authority and store know the same changes.
    pub(super) fn refill(&mut self, n: usize) {
        if self.nodes[n].cut_off || self.push(n, false).is_ok() {
            return;
        }
        let theirs = copied(&self.authority.as_ref().expect("it is ahead").book);
        self.store.adopt(&theirs);
        self.takeovers += 1;
        assert!(self.push(n, true).is_ok(), "it was taken over");
    }

    /// Its follower reads everything, and looks for stops that have their numbers by now.
    pub(super) fn follow(&mut self, n: usize) {
        if self.nodes[n].cut_off {
            return;
        }
        self.refill(n);
        let node = &mut self.nodes[n];
        let authority = self.authority.as_ref().expect("it was filled");
        node.view.clear_unnumbered();
        for (target, id) in node.waiting.iter() {
            node.view.note_unnumbered(target.clone(), *id);
        }
        for (target, standing) in authority.book.standings() {
            node.view.note(target.clone(), standing);
        }
        for (revision, token) in authority.book.ended_after(Revision::ZERO, usize::MAX) {
            node.view.end(token, revision);
        }
        for (target, id) in authority.book.unnumbered() {
            node.view.note_unnumbered(target.clone(), *id);
        }
        node.view.complete_to(authority.book.point());
        node.view.raise_floor(authority.book.floor());
        if self.store.full {
            return;
        }
        let left = node.view.unnumbered().map(|(target, id)| (target.clone(), *id));
        let left: Vec<_> = left.filter(|(_, id)| self.store.numbered.contains(id)).collect();
        if !left.is_empty() {
            node.untold.extend(left);
            self.refill(n);
        }
    }

    /// What holds of `levels` at a node, exactly; none where nobody can tell.
    pub(super) fn verdict(&mut self, n: usize, levels: &Levels) -> Option<Verdict> {
        if self.nodes[n].cut_off {
            return (!self.store.full).then(|| self.judge(n, levels, &Book::default()));
        }
        let trusted =
            self.authority.as_ref().zip(self.nodes[n].reached).is_some_and(|(authority, reached)| {
                let (life, serial, revision) = reached;
                life == authority.life && serial <= authority.serial && revision <= authority.book.revision()
            });
        if !trusted {
            self.refill(n);
        }
        let live = self.authority.as_ref().expect("it was filled").book.clone();
        Some(self.judge(n, levels, &live))
    }

    fn judge(&self, n: usize, levels: &Levels, live: &Book) -> Verdict {
        let mut waiting = Book::default();
        for (target, id) in &self.nodes[n].waiting {
            waiting.note_unnumbered(target.clone(), *id);
        }
        Verdict::of(levels, &[live, &self.nodes[n].view, &self.store.book, &waiting])
    }

    /// The process ends and another begins: what is in memory is lost, the file is not.
    pub(super) fn restart(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        (node.view, node.reached) = (Book::default(), None);
        node.untold.clear();
    }
}
