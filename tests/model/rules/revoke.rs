//! `hallpass revoke`, from the record to the confirmations: `src/broker/kill_switch/{change,journal,lift}.rs`,
//! `src/revocation/redis/{seen,roster}.rs`. And what the law makes of it.

use super::{How, Pushed, Rules};
use crate::facts::{Asked, Facts, STOPS, TOKENS};
use crate::mutants::Mutant;
use crate::state::{ALL, Applied, LATE, Law, Phase, Revoking, State, bit, bit_of, targets};

impl Rules {
    /// `KillSwitch::record_or_add`: the store records the stop; where it cannot, the stop waits in a file, without a number.
    pub(crate) fn stop(&self, state: &State, n: usize, target: usize) -> Option<State> {
        let node = &state.nodes[n];
        if state.left.stops == 0 || node.revoking.is_some() {
            return None;
        }
        let index = state.stops.iter().position(|stop| !stop.exists)?;
        let stop = small(index + 1);
        let mut next = *state;
        next.left.stops -= 1;
        // Who took it makes no difference but to a merge by instants.
        let clock = if self.breaks(Mutant::MergesByTime) { small(n) } else { 0 };
        let made = &mut next.stops[index];
        (made.exists, made.target, made.clock, made.since) = (true, small(target), clock, LATE + 1);
        let is_numbered = node.has_store;
        next.nodes[n].revoking = Some(Revoking { stop, is_numbered, applied: None });
        if is_numbered {
            self.record_stop(&mut next, n, stop);
        } else {
            next.nodes[n].waiting |= bit(stop);
        }
        Some(next)
    }

    /// `KillSwitch::lift`: first what waits here is journaled; a stop that waits outranks every lift.
    pub(crate) fn lift(&self, state: &State, n: usize, target: usize) -> Option<State> {
        let can = state.nodes[n].has_store && state.nodes[n].waiting == 0 && state.left.lifts > 0;
        if !can || state.store.facts.standings[target].stop == 0 {
            return None;
        }
        let mut next = *state;
        next.left.lifts -= 1;
        self.record_lift(&mut next, n, target);
        Some(next)
    }

    /// `KillSwitch::journal_waiting`, the first half: the store numbers a stop that waited.
    pub(crate) fn number(&self, state: &State, n: usize, stop: u8) -> Option<State> {
        let waits = state.nodes[n].waiting & bit(stop) != 0 && state.store.known & bit(stop) == 0;
        if !waits || !state.nodes[n].has_store {
            return None;
        }
        let mut next = *state;
        self.record_stop(&mut next, n, stop);
        Some(next)
    }

    /// `KillSwitch::forget_journaled`, the second half: it waits no more, and the next push says so.
    pub(crate) fn forget_journaled(&self, state: &State, n: usize, stop: u8) -> Option<State> {
        if state.nodes[n].waiting & state.store.known & bit(stop) == 0 || !state.nodes[n].has_store {
            return None;
        }
        let mut next = *state;
        let node = &mut next.nodes[n];
        node.waiting &= !bit(stop);
        if node.waiting == 0 {
            node.given = (0, 0);
        }
        self.note_numbered(&mut next, n, stop);
        Some(next)
    }

    /// `Redis::note_numbered`. The view forgets it when it has learned the store's book (`Redis::push`).
    pub(crate) fn note_numbered(&self, state: &mut State, n: usize, stop: u8) {
        state.nodes[n].numbered |= bit(stop);
        if self.breaks(Mutant::ForgetsBeforeItLearns) {
            forget_in_view(state, n, bit(stop));
        }
    }

    /// `Redis::note_left_behind`: a stop of another node that the store has numbered meanwhile.
    pub(crate) fn note_left_behind(&self, state: &State, n: usize, stop: u8) -> Option<State> {
        let node = &state.nodes[n];
        let is_anothers = node.waiting & bit(stop) == 0 && node.view.unnumbered.contains(&stop);
        let is_found = is_anothers && node.numbered & bit(stop) == 0 && state.store.known & bit(stop) != 0;
        if !is_found || !node.has_store || !node.is_following {
            return None;
        }
        let mut next = *state;
        self.note_numbered(&mut next, n, stop);
        Some(next)
    }

    /// `KillSwitch::announce`: pushes, and remembers where Redis was then.
    pub(crate) fn announce(&self, state: &State, n: usize) -> Option<State> {
        let revoking = state.nodes[n].revoking.filter(|revoking| revoking.applied.is_none())?;
        let mut next = *state;
        match self.push(&mut next, n, How::IfNeeded) {
            Pushed::Done(applied) => {
                // A stop with a number is confirmed by that alone.
                let number =
                    Applied { revision: applied.revision, life: 0, serial: 0, is_same_session: true };
                let applied = Some(if revoking.is_numbered { number } else { applied });
                next.nodes[n].revoking = Some(Revoking { applied, ..revoking });
            }
            Pushed::Ahead => {
                next.nodes[n].is_behind = true;
                self.give_back(&mut next, n, None);
            }
            Pushed::Unreachable => self.give_back(&mut next, n, None),
        }
        Some(next)
    }

    /// `KillSwitch::spread` at its end: `revoke` returns, and names who has confirmed (`Redis::confirmations`).
    pub(crate) fn return_(&self, state: &State, n: usize) -> Option<State> {
        let revoking = state.nodes[n].revoking?;
        let applied = revoking.applied?;
        let mut next = *state;
        let is_same = applied.is_same_session || self.breaks(Mutant::ConfirmsOverAnotherConnection);
        // What is heard over another connection may come from a Redis that lost the push.
        if !state.nodes[n].has_redis || !(revoking.is_numbered || is_same) {
            self.give_back(&mut next, n, None);
            return Some(next);
        }
        let is_confirmed = if revoking.is_numbered {
            self.reported_revision(state, 1 - n) >= applied.revision
        } else {
            let place = state.nodes[1 - n].followed;
            let has_log = state.nodes[1 - n].is_following;
            has_log && place.life == applied.life && place.serial >= applied.serial
        };
        self.give_back(&mut next, n, Some(is_confirmed));
        Some(next)
    }

    /// `Report::of`: how far the node's view is. A report is made of the view and comes later; a `revoke` that returns by
    /// it could as well have returned here, where it promises the same earlier. So the reports themselves, and those that
    /// are late or lost, need no place in the model.
    fn reported_revision(&self, state: &State, n: usize) -> u8 {
        let node = &state.nodes[n];
        if self.breaks(Mutant::ConfirmsBeforeItApplies) && node.is_following {
            return state.redis.facts.revision.max(node.view.revision);
        }
        node.view.revision
    }

    /// The answer of `revoke`. `other`: whether the other node has confirmed; none where nobody could be asked.
    fn give_back(&self, state: &mut State, n: usize, other: Option<bool>) {
        let Some(revoking) = state.nodes[n].revoking.take() else { return };
        let (index, other_node) = (usize::from(revoking.stop - 1), 1 - n);
        let target = usize::from(state.stops[index].target);
        // Nodes are known from the store too (`src/store/postgres/`), so that a dead Redis hides nobody.
        let is_known = state.nodes[n].knows_other
            || (state.nodes[other_node].is_up && !self.breaks(Mutant::KnowsNodesFromRedisAlone));
        let mut refusing = match (is_known, other) {
            (false, _) | (true, Some(true)) => ALL,
            (true, _) => bit_of(n),
        };
        // `KillSwitch::is_in_force`: else it is said to be confirmed by nobody.
        let books = [Self::waiting(state, n), state.nodes[n].view, state.nodes[n].seen];
        let newest = books.iter().map(|book| book.standings[target]).max_by_key(|standing| standing.changed);
        let is_in_force = newest.is_some_and(|known| known.stop > 0)
            || books.iter().any(|book| book.unnumbered[target] > 0);
        if !is_in_force {
            refusing = 0;
        }
        if other == Some(true) && is_in_force && state.nodes[other_node].is_up {
            self.confirm_seen(state, other_node, index);
        }
        let since = if state.left.ticks > 0 { 0 } else { LATE + 1 };
        let stop = &mut state.stops[index];
        (stop.promised, stop.since) = (stop.promised | refusing, since);
        if !revoking.is_numbered && !stop.is_lifted && refusing != 0 {
            for token in (0..TOKENS).filter(|token| self.real.covers(target, Asked::Token(*token))) {
                if state.tokens[token].phase == Phase::Released {
                    stop.killed |= bit_of(token);
                }
            }
        }
        self.bind(state, index);
    }

    /// A node that was named must have applied the stop.
    fn confirm_seen(&self, state: &mut State, other: usize, index: usize) {
        let (stop, node) = (&state.stops[index], &state.nodes[other]);
        let target = usize::from(stop.target);
        // Another change of the target may have come since; then it has applied this one as well.
        // One of a target that was stopped already has no number of its own.
        let is_applied = |book: &Facts| {
            let known = book.standings[target];
            if stop.number > 0 { known.changed >= stop.number } else { known.stop > 0 }
        };
        let has_standing = [node.view, node.seen].iter().any(is_applied);
        let has_waiting =
            [node.view, Self::waiting(state, other)].iter().any(|book| book.unnumbered[target] > 0);
        if !stop.is_lifted && !has_standing && !has_waiting {
            state.break_law(Law::ConfirmedUnseen);
        }
    }

    /// What the law makes of a stop that got the number `now`: the tokens that were decided before it are dead.
    pub(crate) fn note_killed(&self, state: &mut State, stop: u8, now: u8) {
        let index = usize::from(stop - 1);
        let target = usize::from(state.stops[index].target);
        state.stops[index].number = now;
        for token in 0..TOKENS {
            let is_alive = !matches!(state.tokens[token].phase, Phase::None | Phase::Expired);
            // The levels of a token are those of every token above it, each with its own `as_of`.
            let is_hit = self.real.chain(token).iter().any(|link| {
                state.tokens[*link].as_of < now && (self.real.covers(target, Asked::Token(*link)))
            });
            if is_alive && is_hit {
                state.stops[index].killed |= bit_of(token);
            }
        }
        self.bind(state, index);
    }

    /// Whoever is said to refuse by a stop refuses for ever what it killed.
    fn bind(&self, state: &mut State, index: usize) {
        let stop = state.stops[index];
        for token in (0..TOKENS).filter(|token| stop.killed & bit_of(*token) != 0) {
            state.tokens[token].must_refuse |= stop.promised;
        }
        if stop.is_lifted {
            state.stops[index].promised = 0;
        }
    }

    /// Whether somebody was told that node `n` refuses this token.
    pub(crate) fn must_refuse(&self, state: &State, n: usize, token: usize) -> bool {
        let chain = self.real.chain(token);
        let is_dead = chain.iter().any(|link| state.tokens[*link].must_refuse & bit_of(n) != 0);
        is_dead
            || (0..STOPS).map(|index| &state.stops[index]).any(|stop| {
                let covers = || self.real.covers(stop.target.into(), Asked::Token(token));
                stop.holds() && stop.promised & bit_of(n) != 0 && covers()
            })
    }

    /// The same for every node, once two times `max_staleness` have passed since the return.
    pub(crate) fn must_be_refused_by_now(&self, state: &State, token: usize) -> bool {
        state.stops.iter().filter(|stop| stop.exists && stop.since == LATE).any(|stop| {
            let is_killed = stop.killed & bit_of(token) != 0;
            is_killed || (stop.holds() && self.real.covers(stop.target.into(), Asked::Token(token)))
        })
    }
}

/// `Redis::forget_in_view`.
pub(crate) fn forget_in_view(state: &mut State, n: usize, stops: u8) {
    for target in targets() {
        let known = &mut state.nodes[n].view.unnumbered[target];
        if *known > 0 && stops & bit(*known) != 0 {
            *known = 0;
        }
    }
}

fn small(n: usize) -> u8 {
    u8::try_from(n).expect("small")
}
