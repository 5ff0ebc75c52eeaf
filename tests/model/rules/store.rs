//! The shared store: `src/store/`. Its transactions are one step each, because the head is locked for them
//! (today one thread writes; `src/store/postgres/` locks a row).

use super::Rules;
use crate::facts::{Facts, Standing};
use crate::state::{Law, State, bit, targets};

/// `GAP` of `src/broker/kill_switch/take_over.rs` and `src/store/backup.rs`, in small.
pub(crate) const GAP: u8 = 20;

impl Rules {
    /// `Store::book`: every committed change, as the store has it now; the node's copy is brought up by it. None where
    /// the store does not answer.
    pub(crate) fn book(&self, state: &mut State, n: usize) -> Option<Facts> {
        let node = &mut state.nodes[n];
        if !node.has_store {
            return None;
        }
        node.seen = state.store.facts;
        Some(node.seen)
    }

    /// The same, or the node's own copy (`Store::seen`) where the store does not answer.
    pub(crate) fn book_or_copy(&self, state: &mut State, n: usize) -> Facts {
        self.book(state, n).unwrap_or(state.nodes[n].seen)
    }

    /// `Batch::stop`: a stop and its event in one transaction. One whose id is known is not recorded again; of a target
    /// that is stopped the stop in force goes on.
    pub(crate) fn record_stop(&self, state: &mut State, n: usize, stop: u8) {
        let target = usize::from(state.stops[usize::from(stop - 1)].target);
        let store = &mut state.store;
        let is_new = store.known & bit(stop) == 0;
        store.known |= bit(stop);
        if is_new && store.facts.standings[target].stop == 0 {
            let now = store.next();
            let standing = Standing { stop, stopped: now, changed: now };
            store.facts = self.real.learn(&store.facts, &only(target, standing));
            self.note_killed(state, stop, now);
        }
        self.book(state, n);
    }

    /// `Batch::lift`.
    pub(crate) fn record_lift(&self, state: &mut State, n: usize, target: usize) {
        let store = &mut state.store;
        let Standing { stopped, .. } = store.facts.standings[target];
        let changed = store.next();
        store.facts = self.real.learn(&store.facts, &only(target, Standing { stop: 0, stopped, changed }));
        for (index, stop) in state.stops.iter_mut().enumerate() {
            if usize::from(stop.target) == target && state.store.known & 1 << index != 0 {
                (stop.is_lifted, stop.promised) = (true, 0);
            }
        }
        self.book(state, n);
    }

    /// `Batch::end`.
    pub(crate) fn record_end(&self, state: &mut State, n: usize, token: usize) {
        let revision = state.store.next();
        let mut end = Facts::default();
        end.ended[token] = revision;
        state.store.facts = self.real.learn(&state.store.facts, &end);
        self.book(state, n);
    }

    /// `Batch::adopt` of what `take_over::adoption` makes: numbers on above the lost history, every token that was decided
    /// before is dead, and every stop in force in either is in force.
    pub(crate) fn adopt(&self, state: &mut State, theirs: &Facts) {
        let ours = state.store.facts;
        state.lost_history = false;
        let store = &mut state.store;
        store.facts.revision = theirs.newest().max(ours.revision) + GAP;
        let now = store.next();
        if !self.breaks(crate::mutants::Mutant::TakesOverWithoutFloor) {
            store.facts = self.real.raise_floor(&store.facts, now);
        }
        let lost = targets().filter(|n| ours.standings[*n].stop == 0).map(|n| (n, theirs.standings[n].stop));
        let restated = targets().filter(|n| theirs.standings[*n] != ours.standings[*n]);
        let restated = restated.map(|n| (n, ours.standings[n].stop));
        let stops: Vec<(usize, u8)> = lost.chain(restated).filter(|(_, stop)| *stop > 0).collect();
        for (target, stop) in stops {
            let now = store.next();
            store.known |= bit(stop);
            let standing = Standing { stop, stopped: now, changed: now };
            store.facts = self.real.learn(&store.facts, &only(target, standing));
        }
        if store.era == 0 {
            state.break_law(Law::TookOverForNothing);
        }
    }
}

/// Facts that say one thing.
pub(crate) fn only(target: usize, standing: Standing) -> Facts {
    let mut facts = Facts::default();
    facts.standings[target] = standing;
    facts
}
