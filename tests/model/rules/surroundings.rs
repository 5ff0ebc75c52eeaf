//! What happens to an installation: processes that end, links that break, a Redis that forgets, a store from a backup,
//! time that passes.

use super::Rules;
use super::push::lose_session;
use super::store::GAP;
use crate::facts::{STOPS, TOKENS};
use crate::state::{LATE, NODES, Node, Phase, Redis, State, bit_of};

impl Rules {
    /// The process ends. What is in memory is lost, the file of the stops that wait is not; tokens that were not released
    /// are dropped.
    pub(crate) fn crash(&self, state: &mut State, n: usize) {
        let Node { has_redis, has_store, waiting, .. } = state.nodes[n];
        state.nodes[n] = Node { has_redis, has_store, waiting, ..Node::default() };
        for token in 0..TOKENS {
            let is_here = |at: u8| usize::from(at) == n;
            if matches!(state.tokens[token].phase, Phase::Decided(at) | Phase::Journaled(at) if is_here(at)) {
                drop_token(state, token);
            }
        }
        self.forget_promises(state);
    }

    /// `KillSwitch::new`: nobody knows yet whether the store is an older copy.
    pub(crate) fn start(&self, state: &State, n: usize) -> Option<State> {
        if state.nodes[n].is_up || !state.nodes[n].has_store {
            return None;
        }
        let mut next = *state;
        let node = &mut next.nodes[n];
        (node.is_up, node.is_behind, node.seen, node.age) = (true, true, state.store.facts, 2);
        Some(next)
    }

    /// Redis is emptied, and its connections go on.
    pub(crate) fn flush(&self, state: &mut State) {
        state.redis = Redis { is_read_only: state.redis.is_read_only, ..Redis::default() };
        self.forget_promises(state);
    }

    /// An older copy of Redis takes its place: a replica that lagged, or what was on its disk. Every connection breaks.
    pub(crate) fn fail_over(&self, state: &mut State) {
        let Some(replica) = state.replica.take() else { return };
        state.redis = replica;
        for n in 0..NODES {
            lose_session(state, n);
            (state.nodes[n].is_following, state.nodes[n].is_level_due) = (false, false);
        }
        self.forget_promises(state);
    }

    /// A backup takes the place of the store, while no node runs. `is_told`: by `hallpass backup restore`, which numbers on
    /// above and raises the floor (`src/store/backup.rs`); else somebody copied a file.
    pub(crate) fn restore(&self, state: &mut State, is_told: bool) {
        let Some(mut backup) = state.backup.take() else { return };
        (0..NODES).for_each(|n| self.crash(state, n));
        backup.era = state.store.era + 1;
        state.store = backup;
        state.lost_history = true;
        if is_told {
            state.store.facts.revision += GAP;
            let now = state.store.next();
            state.store.facts = self.real.raise_floor(&state.store.facts, now);
        }
        self.forget_promises(state);
    }

    /// Two lifetimes of a token pass: those that were decided before are expired, and the store forgets what tells only of
    /// them (`src/store/`, the horizon).
    pub(crate) fn age(&self, state: &mut State) {
        state.store.facts = self.real.raise_floor(&state.store.facts, state.store.facts.revision);
        for token in 0..TOKENS {
            if state.tokens[token].phase != Phase::None {
                drop_token(state, token);
                state.tokens[token].phase = Phase::Expired;
            }
        }
    }

    /// `max_staleness` passes. Whoever follows has had rounds meanwhile, which are at most a quarter of it apart.
    pub(crate) fn tick(&self, state: &mut State) {
        for node in &mut state.nodes {
            (node.age, node.had_round) = ((node.age + 1).min(2), false);
        }
        for stop in state.stops.iter_mut().filter(|stop| stop.exists && stop.since < LATE) {
            stop.since += 1;
        }
    }

    /// What the store and Redis and the files have all lost is lost (law 5 speaks of one of them): nobody is held to it.
    /// This needs a restored store, or a stop that waits for the store.
    fn forget_promises(&self, state: &mut State) {
        for index in 0..STOPS {
            let stop = state.stops[index];
            let target = usize::from(stop.target);
            let books = [state.store.facts, state.redis.facts];
            let is_numbered = books.iter().any(|book| book.standings[target].stop > 0);
            let waits = state.nodes.iter().any(|node| node.waiting & bit_of(index) != 0);
            let is_remembered = is_numbered || waits || state.redis.facts.unnumbered[target] > 0;
            // A stop without a number is in the file of its node, in Redis and in memory. Where Redis and the memory of
            // another node are both lost, that node learns it again when its node has noticed, half a second later.
            if stop.holds() && !is_numbered && state.redis.facts.unnumbered[target] == 0 {
                for n in 0..NODES {
                    let node = &state.nodes[n];
                    let knows = node.is_up && node.view.unnumbered[target] > 0;
                    if !knows && node.waiting & bit_of(index) == 0 {
                        state.stops[index].promised &= !bit_of(n);
                        (0..TOKENS).for_each(|token| state.tokens[token].must_refuse &= !bit_of(n));
                    }
                }
                let is_held = state.nodes.iter().any(|node| node.is_up && node.waiting & bit_of(index) != 0);
                let since = &mut state.stops[index].since;
                *since = if is_held && *since <= LATE { 0 } else { LATE + 1 };
            }
            if stop.holds() && !is_remembered && state.lost_history {
                (state.stops[index].promised, state.stops[index].since) = (0, LATE + 1);
            }
            // A token that it killed stays dead by what is known of the last stop, or by the floor.
            let number = stop.number;
            let as_ofs = state.as_ofs();
            let knows_dead = |token: usize| {
                books.iter().any(|book| {
                    book.standings[target].stopped >= number && number > 0 || book.floor > as_ofs[token]
                }) || is_remembered && stop.holds()
            };
            for token in (0..TOKENS).filter(|token| stop.killed & bit_of(*token) != 0) {
                if state.lost_history && !knows_dead(token) {
                    state.stops[index].killed &= !bit_of(token);
                    state.tokens[token].must_refuse = 0;
                }
            }
        }
        for token in 0..TOKENS {
            let ends = [state.store.facts, state.redis.facts].map(|book| (book.ended[token], book.floor));
            let is_dead = ends.iter().any(|(ended, floor)| *ended > 0 || *floor > state.tokens[token].as_of);
            let is_killed = state.stops.iter().any(|stop| stop.killed & bit_of(token) != 0);
            if state.lost_history && !is_dead && !is_killed {
                state.tokens[token].must_refuse = 0;
            }
        }
    }
}

/// The token does not exist any more, and can be asked for again.
pub(crate) fn drop_token(state: &mut State, token: usize) {
    state.tokens[token] = crate::state::Token::default();
    for stop in &mut state.stops {
        stop.killed &= !bit_of(token);
    }
}
