//! The follower of a node: `src/revocation/redis/follow/`, and the takeover: `src/broker/kill_switch/take_over.rs`.
//!
//! The log itself is not in the model. A node that reads all its entries from its place on, without a gap, learns what
//! Redis holds; one that lags behind has not had its round yet.

use super::push::lose_session;
use super::{How, Pushed, Rules};
use crate::mutants::Mutant;
use crate::state::{Place, State, targets};

impl Rules {
    /// `Redis::round`: reports where the view is, reads what was written meanwhile, and applies it. The round before must
    /// have kept Redis level with the store (`Redis::follow_log`).
    pub(crate) fn round(&self, state: &State, n: usize) -> Option<State> {
        let node = &state.nodes[n];
        if !node.is_up || !node.has_redis || !node.is_following || node.is_level_due {
            return None;
        }
        let mut next = *state;
        if state.redis.is_read_only {
            return Some(self.stop_following(state, n));
        }
        let (now, place) = (state.redis.place(), node.followed);
        self.hear(&mut next, n);
        let goes_on = now == place || (now.may_follow(&place) && now.serial > place.serial);
        let goes_on = goes_on || self.breaks(Mutant::ForgetsAmnesia);
        if !goes_on {
            next.nodes[n].is_following = false;
            return Some(next);
        }
        let own = Self::waiting(state, n);
        let view =
            self.real.learn(&node.view, &crate::facts::Facts { unnumbered: [0; 2], ..state.redis.facts });
        let mut view = self.real.complete_to(&view, now.point);
        for target in targets() {
            let (theirs, own) = (state.redis.facts.unnumbered[target], own.unnumbered[target]);
            let keeps_own = own > 0 && view.unnumbered[target] == own;
            view.unnumbered[target] = if theirs > 0 || !keeps_own { theirs } else { own };
        }
        next.nodes[n].view = self.real.raise_floor(&view, now.floor);
        let node = &mut next.nodes[n];
        (node.has_trouble, node.age, node.is_level_due) = (false, 0, true);
        self.set_followed(&mut next, n, now);
        // Where there is nothing to keep level, that is no step of its own.
        let kept = self.keep_level(&next, n).filter(|kept| self.is_kept(&next, kept, n));
        Some(kept.unwrap_or(next))
    }

    /// Whether keeping level changed nothing but that it was done.
    fn is_kept(&self, before: &State, after: &State, n: usize) -> bool {
        let mut before = *before;
        before.nodes[n].is_level_due = false;
        before.nodes[n].had_round = after.nodes[n].had_round;
        before == *after
    }

    /// `Redis::set_followed`.
    fn set_followed(&self, state: &mut State, n: usize, place: Place) {
        let node = &mut state.nodes[n];
        let further = node.reached.life == place.life && node.reached.serial > place.serial;
        node.followed = place;
        if !further {
            node.reached = place;
        }
    }

    /// `Redis::follow_for_ever` after an error.
    fn stop_following(&self, state: &State, n: usize) -> State {
        let mut next = *state;
        let node = &mut next.nodes[n];
        (node.is_following, node.has_trouble, node.is_level_due) = (false, true, false);
        if state.redis.is_read_only {
            lose_session(&mut next, n);
        }
        if let Some(book) = self.book(&mut next, n) {
            self.learn_book(&mut next, n, &book);
        }
        next
    }

    /// `Redis::keep_level`: pushes what Redis lacks, also stops whose waiting node is gone.
    pub(crate) fn keep_level(&self, state: &State, n: usize) -> Option<State> {
        let node = &state.nodes[n];
        if !node.is_up || !node.has_redis || !node.is_level_due {
            return None;
        }
        let mut next = *state;
        next.nodes[n].is_level_due = false;
        let Some(book) = self.book(&mut next, n) else { return Some(self.stop_following(state, n)) };
        let owes = self.not_given(&next, n, node.followed.life) != 0;
        let lags = book.point() != node.followed.point || book.floor > node.followed.floor;
        if !node.is_trusted || owes || node.numbered != 0 || lags {
            self.push_or_take_over(&mut next, n);
        }
        let node = &mut next.nodes[n];
        node.had_round = state.left.ticks > 0;
        if node.is_behind {
            node.is_following = false;
        }
        Some(next)
    }

    /// `Redis::catch_up`: merges the store and the view into Redis, and then Redis into the view.
    pub(crate) fn catch_up(&self, state: &State, n: usize) -> Option<State> {
        let node = &state.nodes[n];
        if !node.is_up || !node.has_redis || node.is_following {
            return None;
        }
        if state.redis.is_read_only || !node.has_store {
            return Some(self.stop_following(state, n));
        }
        let mut next = *state;
        next.nodes[n].given = (0, 0);
        if !self.push_or_take_over(&mut next, n) {
            return Some(next);
        }
        let highest = self.book(&mut next, n).map_or(0, |book| book.revision);
        let theirs = next.redis.facts;
        let items = theirs.standings.iter().map(|standing| standing.changed).chain(theirs.ended);
        if items.max().is_some_and(|newest| newest > highest) {
            self.take_over(&mut next, n);
            return Some(next);
        }
        let mut view = next.nodes[n].view;
        view.unnumbered = Self::waiting(&next, n).unnumbered;
        let view = self.real.learn(&view, &theirs);
        let view = self.real.complete_to(&view, theirs.point());
        next.nodes[n].view = self.real.raise_floor(&view, theirs.floor);
        let place = next.redis.place();
        self.set_followed(&mut next, n, place);
        self.hear(&mut next, n);
        let node = &mut next.nodes[n];
        (node.is_following, node.age, node.is_behind) = (true, 0, false);
        Some(next)
    }

    /// `Redis::push_or_take_over`. True where Redis has what the store has.
    fn push_or_take_over(&self, state: &mut State, n: usize) -> bool {
        match self.push(state, n, How::InAnyCase) {
            Pushed::Done(_) => true,
            Pushed::Unreachable => false,
            Pushed::Ahead => {
                self.take_over(state, n);
                false
            }
        }
    }

    /// `KillSwitch::take_over_history`. The store's part and Redis's part are two steps: a node may die in between.
    fn take_over(&self, state: &mut State, n: usize) {
        state.nodes[n].is_behind = true;
        if state.redis.life == 0 || !state.nodes[n].has_store {
            return;
        }
        let theirs = state.redis.facts;
        let ours = state.store.facts;
        if state.store.has(theirs.point()) && theirs.newest() <= ours.revision {
            if matches!(self.push(state, n, How::IfNeeded), Pushed::Done(_)) {
                state.nodes[n].is_behind = false;
            }
            return;
        }
        let seen = (theirs.point(), theirs.newest());
        if state.nodes[n].taken_over != Some(seen) {
            self.adopt(state, &theirs);
            self.book(state, n);
            state.nodes[n].taken_over = Some(seen);
            return;
        }
        if matches!(self.push(state, n, How::Over(theirs.point())), Pushed::Done(_)) {
            state.nodes[n].is_behind = false;
        }
    }

    /// `Roster::hear`.
    pub(crate) fn hear(&self, state: &mut State, n: usize) {
        let other = &state.nodes[1 - n];
        state.nodes[n].knows_other |= other.is_up && other.followed.life > 0;
    }
}
