//! Asking: `KillSwitch::verdict` (`src/broker/kill_switch/mod.rs`) and `Redis::ask` (`src/revocation/redis/ask.rs`).

use super::{How, Pushed, Rules};
use crate::facts::{Asked, Facts, Verdict};
use crate::mutants::Mutant;
use crate::state::State;

/// What Redis says to a question of a node.
enum Answer {
    Facts(Facts),
    /// `RevocationError::Amnesia`: it must be refilled first, which is a step of its own.
    Amnesia,
    /// It holds numbers that the store never gave.
    Ahead,
    /// No connection, or it is not asked because the follower cannot write.
    Unusable,
}

impl Rules {
    /// `KillSwitch::verdict`. None where nobody can tell, or where a refill has to come first.
    pub(crate) fn verdict(&self, state: &State, n: usize, asked: Asked) -> Option<Verdict> {
        let node = &state.nodes[n];
        match self.ask(state, n) {
            Answer::Facts(live) => Some(self.judge(state, n, asked, live, self.copy(state, n))),
            Answer::Amnesia | Answer::Ahead => None,
            Answer::Unusable => {
                let trusts_store = !node.is_behind || self.breaks(Mutant::TrustsRestoredStore);
                let copy =
                    if self.breaks(Mutant::FallsBackToItsCopy) { node.seen } else { self.copy(state, n) };
                (node.has_store && trusts_store).then(|| self.judge(state, n, asked, Facts::default(), copy))
            }
        }
    }

    /// `KillSwitch::known`: what the node knows without asking anybody.
    pub(crate) fn known(&self, state: &State, n: usize, asked: Asked) -> Verdict {
        self.judge(state, n, asked, Facts::default(), state.nodes[n].seen)
    }

    /// `KillSwitch::ask`. Where the view has followed Redis just as far, it holds all that Redis does.
    fn ask(&self, state: &State, n: usize) -> Answer {
        let (node, redis) = (&state.nodes[n], &state.redis);
        if !node.has_redis || node.has_trouble {
            return Answer::Unusable;
        }
        let now = redis.place();
        let forgot = redis.life == 0 || !now.may_follow(&node.reached);
        if !self.breaks(Mutant::ForgetsAmnesia) && (!node.is_trusted || forgot) {
            return Answer::Amnesia;
        }
        let live = if node.followed == now { node.view } else { redis.facts };
        // `KillSwitch::is_level_with`.
        if live.newest() > self.copy(state, n).revision { Answer::Ahead } else { Answer::Facts(live) }
    }

    /// The node's copy of the store's book, brought up where the store answers: `Store::book` in `is_level_with`.
    /// `src/store/postgres/` has to ask the head there.
    fn copy(&self, state: &State, n: usize) -> Facts {
        if state.nodes[n].has_store { state.store.facts } else { state.nodes[n].seen }
    }

    /// `KillSwitch::judge`.
    fn judge(&self, state: &State, n: usize, asked: Asked, live: Facts, seen: Facts) -> Verdict {
        let books = [live, Self::waiting(state, n), state.nodes[n].view, seen];
        if self.breaks(Mutant::LiftRevives) {
            return self.real.verdict(asked, state.as_ofs(), books.map(in_force_alone));
        }
        self.real.verdict(asked, state.as_ofs(), books)
    }

    /// A node distrusts a store that has not given what Redis holds: `KillSwitch::wait_for_takeover`.
    pub(crate) fn notice(&self, state: &State, n: usize) -> Option<State> {
        if state.nodes[n].is_behind || !matches!(self.ask(state, n), Answer::Ahead) {
            return None;
        }
        let mut next = *state;
        next.nodes[n].is_behind = true;
        Some(next)
    }

    /// `KillSwitch::refill`: of a caller that found Redis to have forgotten (`Redis::check`), or that has changed something.
    pub(crate) fn refill(&self, state: &State, n: usize) -> Option<State> {
        let node = &state.nodes[n];
        let has_news = node.numbered != 0 || node.seen.point() != node.reached.point;
        if !node.has_redis || !(has_news || matches!(self.ask(state, n), Answer::Amnesia)) {
            return None;
        }
        let mut next = *state;
        if matches!(self.ask(state, n), Answer::Amnesia) {
            next.nodes[n].is_trusted = false;
        }
        if matches!(self.push(&mut next, n, How::IfNeeded), Pushed::Ahead) {
            next.nodes[n].is_behind = true;
        }
        Some(next)
    }
}

/// Without the stops that are lifted.
fn in_force_alone(mut facts: Facts) -> Facts {
    for standing in facts.standings.iter_mut().filter(|standing| standing.stop == 0) {
        standing.stopped = 0;
    }
    facts
}
