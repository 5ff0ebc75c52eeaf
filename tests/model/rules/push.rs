//! Pushing: `src/revocation/redis/push.rs`, and what Redis does with it: `src/revocation/redis/push.lua`.

use super::Rules;
use super::revoke::forget_in_view;
use crate::facts::{Facts, Standing};
use crate::mutants::Mutant;
use crate::state::{Applied, Place, Push, Revoking, State, bit, targets};

/// `How`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    IfNeeded,
    InAnyCase,
    /// Over the history up to this point, which was taken over.
    Over((u8, u8)),
}

pub(crate) enum Pushed {
    Done(Applied),
    /// `RevocationError::Ahead`.
    Ahead,
    /// No connection, no writes, or nobody can say whose history Redis has.
    Unreachable,
}

/// `ATTEMPTS`; two nodes need no more.
const ATTEMPTS: usize = 4;

impl Rules {
    /// `Redis::push`.
    pub(crate) fn push(&self, state: &mut State, n: usize, how: How) -> Pushed {
        let book = self.book_or_copy(state, n);
        self.learn_book(state, n, &book);
        forget_in_view(state, n, numbered_in_book(state, n));
        let node = &state.nodes[n];
        let owes_none = self.not_given(state, n, node.reached.life) == 0;
        let is_there = node.reached.life > 0
            && (how == How::IfNeeded && node.numbered == 0 && node.is_trusted && owes_none)
            && node.reached.point.0 >= book.revision
            && node.verified == node.reached.point;
        if is_there {
            return Pushed::Done(applied(node.reached, book.revision));
        }
        let mut theirs = if node.reached.life > 0 { node.reached } else { state.redis.place() };
        let mut fell_back = false;
        for _ in 0..ATTEMPTS {
            let push = match self.compose(state, n, (theirs, fell_back), how) {
                Ok(push) => push,
                Err(failed) => return failed,
            };
            if !state.nodes[n].has_redis || state.redis.is_read_only {
                lose_session(state, n);
                return Pushed::Unreachable;
            }
            if self.receive(state, &push) {
                self.trust(state, n);
                return Pushed::Done(applied(state.redis.place(), book.revision));
            }
            let (now, before) = (state.redis.place(), state.nodes[n].reached);
            // `Redis::fell_back_to`.
            fell_back = before.life > 0 && now.life == before.life && !now.may_follow(&before);
            theirs = now;
        }
        Pushed::Unreachable
    }

    /// `Redis::push_over_session` up to the call of the script.
    pub(crate) fn compose(
        &self,
        state: &mut State,
        n: usize,
        (theirs, fell_back): (Place, bool),
        how: How,
    ) -> Result<Push, Pushed> {
        let book = self.book_or_copy(state, n);
        self.learn_book(state, n, &book);
        let after = self.base(state, n, &book, theirs, how)?;
        let mut items = book;
        for target in targets() {
            if items.standings[target].changed <= after {
                items.standings[target] = Standing::default();
            }
        }
        for ended in items.ended.iter_mut().filter(|ended| **ended <= after) {
            *ended = 0;
        }
        self.add_lifted_long_ago(state, &book, theirs, how, &mut items);
        items.unnumbered = self.unnumbered_items(state, n, theirs, fell_back);
        Ok(Push {
            base: (theirs.life, theirs.point),
            reached: theirs.serial,
            begins_anew: fell_back,
            items,
            numbered: numbered_in_book(state, n),
            is_part: false,
        })
    }

    /// `Redis::base`: the revision after which Redis lacks what `book` has.
    fn base(&self, state: &mut State, n: usize, book: &Facts, theirs: Place, how: How) -> Result<u8, Pushed> {
        if theirs.life == 0 || how == How::Over(theirs.point) {
            return Ok(0);
        }
        let node = &state.nodes[n];
        if theirs.point != book.point() && theirs.point != node.verified {
            if !node.has_store {
                return Err(Pushed::Unreachable);
            }
            if !state.store.has(theirs.point) {
                return Err(Pushed::Ahead);
            }
            state.nodes[n].verified = theirs.point;
        }
        if theirs.point.0 > book.revision { Err(Pushed::Ahead) } else { Ok(theirs.point.0) }
    }

    /// `Redis::lifted_long_ago`.
    fn add_lifted_long_ago(&self, state: &State, book: &Facts, theirs: Place, how: How, items: &mut Facts) {
        let is_known = !matches!(how, How::Over(point) if point != theirs.point);
        if theirs.life == 0 || !is_known || theirs.point.0 >= book.floor {
            return;
        }
        for n in targets().filter(|n| !matches!(self.cast.targets[*n], crate::facts::Name::Token(_))) {
            let Standing { stop, stopped, changed } = state.redis.facts.standings[n];
            if stop > 0 && changed <= theirs.point.0 && book.standings[n].changed == 0 {
                items.standings[n] = Standing { stop: 0, stopped, changed: book.floor };
            }
        }
    }

    /// `Redis::unnumbered_items`. A Redis that began anew has lost those of other nodes too. Over a connection that was not
    /// written to yet, the node's own are given again.
    fn unnumbered_items(&self, state: &mut State, n: usize, theirs: Place, fell_back: bool) -> [u8; 2] {
        let node = &state.nodes[n];
        let is_there = theirs.life > 0 && !fell_back;
        let followed_another = node.followed.life > 0 && node.followed.life != theirs.life;
        let is_anew = !is_there || followed_another;
        let own =
            if is_anew || !node.is_trusted { node.waiting } else { self.not_given(state, n, theirs.life) };
        let mut items = [0; 2];
        for target in targets() {
            let known = node.view.unnumbered[target];
            if is_anew && known > 0 && node.numbered & bit(known) == 0 {
                items[target] = known;
            } else {
                items[target] = state.unnumbered(own).unnumbered[target];
            }
        }
        for target in targets().filter(|target| items[*target] > 0) {
            let known = &mut state.nodes[n].view.unnumbered[target];
            if *known == 0 {
                *known = items[target];
            }
        }
        items
    }

    /// `Redis::not_given`: this node's stops without a number that Redis may lack, as bits.
    pub(crate) fn not_given(&self, state: &State, n: usize, life: u8) -> u8 {
        let node = &state.nodes[n];
        let (given_life, given) = node.given;
        let is_given = |stop: u8| given_life == life && given & bit(stop) != 0;
        let lacks =
            |stop: u8| node.view.unnumbered[usize::from(state.stops[usize::from(stop - 1)].target)] == 0;
        let own = (1..=3).filter(|stop| node.waiting & bit(*stop) != 0);
        own.filter(|stop| !is_given(*stop) || lacks(*stop)).fold(0, |bits, stop| bits | bit(stop))
    }

    /// `push.lua`. False where Redis is not in the state on which the push builds.
    pub(crate) fn receive(&self, state: &mut State, push: &Push) -> bool {
        let redis = &mut state.redis;
        let builds_on = (redis.life, redis.facts.point()) == push.base && redis.serial >= push.reached;
        if !builds_on && !self.breaks(Mutant::PushesBlindly) {
            return false;
        }
        let before = *redis;
        if redis.life == 0 || push.begins_anew {
            state.lives += 1;
            (redis.life, redis.serial) = (state.lives, 0);
        }
        for target in targets() {
            let (had, gives) = (redis.facts.unnumbered[target], push.items.unnumbered[target]);
            let had = if had > 0 && push.numbered & bit(had) != 0 { 0 } else { had };
            redis.facts.unnumbered[target] = if had == 0 { gives } else { had };
        }
        let standings = Facts { unnumbered: [0; 2], ..push.items };
        let merged = if self.breaks(Mutant::PushesBlindly) {
            overwritten(&redis.facts, &standings)
        } else if self.breaks(Mutant::MergesByTime) {
            let standings = later_by_clock(&redis.facts, &standings, &state.stops);
            overwritten(&redis.facts, &standings)
        } else {
            self.real.learn(&redis.facts, &standings)
        };
        redis.facts = merged;
        if !push.is_part {
            (redis.facts.revision, redis.facts.era) = push.items.point();
        }
        redis.facts = self.real.raise_floor(&redis.facts, push.items.floor);
        if (redis.life, redis.facts) != (before.life, before.facts) {
            redis.serial += 1;
        }
        true
    }

    /// `Redis::trust`, and what a push that succeeded settles.
    pub(crate) fn trust(&self, state: &mut State, n: usize) {
        let place = state.redis.place();
        let numbered = numbered_in_book(state, n);
        forget_in_view(state, n, numbered);
        let node = &mut state.nodes[n];
        node.numbered &= !numbered;
        (node.reached, node.verified, node.is_trusted) = (place, place.point, true);
        node.given = if node.waiting == 0 { (0, 0) } else { (place.life, node.waiting) };
    }

    /// `View::learn_book`.
    pub(crate) fn learn_book(&self, state: &mut State, n: usize, book: &Facts) {
        let view = &state.nodes[n].view;
        if book.revision > view.revision || book.floor > view.floor {
            state.nodes[n].view = self.real.merge(view, book);
        }
    }
}

/// The stops that have their numbers in the book that is pushed. A copy that could not be brought up may not have them yet:
/// where `Store::book` gives an older copy (`src/store/postgres/`), nothing may be taken for numbered by it.
fn numbered_in_book(state: &State, n: usize) -> u8 {
    if state.nodes[n].has_store { state.nodes[n].numbered } else { 0 }
}

/// The connection is given up (`Link::lost`): what was trusted over it is not trusted over the next.
pub(crate) fn lose_session(state: &mut State, n: usize) {
    let node = &mut state.nodes[n];
    node.is_trusted = false;
    if let Some(Revoking { is_numbered: false, applied: Some(applied), .. }) = &mut node.revoking {
        applied.is_same_session = false;
    }
}

fn applied(place: Place, revision: u8) -> Applied {
    Applied { revision, life: place.life, serial: place.serial, is_same_session: true }
}

/// What a push does that compares nothing.
fn overwritten(theirs: &Facts, items: &Facts) -> Facts {
    let mut facts = *theirs;
    for n in targets().filter(|n| items.standings[*n].changed > 0) {
        facts.standings[n] = items.standings[n];
    }
    for (known, ended) in facts.ended.iter_mut().zip(items.ended) {
        *known = (*known).max(ended);
    }
    facts
}

/// What a merge keeps that compares instants, where the clock of node 1 is behind.
fn later_by_clock(theirs: &Facts, items: &Facts, stops: &[crate::state::Stop]) -> Facts {
    let clock = |standing: Standing| {
        let is_behind = standing.stop > 0 && stops[usize::from(standing.stop - 1)].clock == 1;
        if is_behind { standing.changed } else { standing.changed + 100 }
    };
    let mut later = *items;
    for n in targets() {
        let known = theirs.standings[n];
        if known.changed > 0 && clock(known) >= clock(items.standings[n]) {
            later.standings[n] = Standing::default();
        }
    }
    later
}
