//! A token from decision to release: `src/broker/issue.rs`; its check: `src/broker/inspect.rs`.

use super::Rules;
use super::surroundings::drop_token;
use crate::facts::Asked;
use crate::mutants::Mutant;
use crate::state::{Law, Phase, State, bit_of};

impl Rules {
    /// `Broker::attempt` up to the signature: the verdict's revision becomes the token's `as_of`. A parent's token must be
    /// alive itself (`Broker::still_lives`).
    pub(crate) fn decide(&self, state: &State, n: usize, token: usize) -> Option<State> {
        let parents = self.real.chain(token).iter().filter(|above| **above != token);
        for parent in parents {
            let is_alive = self.verdict(state, n, Asked::Token(*parent))?;
            if state.tokens[*parent].phase != Phase::Released || is_alive.is_dead {
                return None;
            }
        }
        let verdict = self.verdict(state, n, Asked::Request(token)).filter(|verdict| !verdict.is_dead)?;
        let mut next = *state;
        (next.tokens[token].phase, next.tokens[token].as_of) = (Phase::Decided(node(n)), verdict.as_of);
        Some(next)
    }

    /// `Store::append_issuance` (`Batch::issue`): the transaction asks the stops as committed, which the node learns in it.
    pub(crate) fn journal(&self, state: &State, n: usize, token: usize) -> Option<State> {
        if !state.nodes[n].has_store {
            return None;
        }
        let mut next = *state;
        let head = state.store.facts;
        let asked = Asked::Token(token);
        let is_dead = |facts| self.real.verdict(asked, state.as_ofs(), [facts; 4]).is_dead;
        let known = if self.breaks(Mutant::IssuesByItsCopy) { state.nodes[n].seen } else { head };
        if is_dead(known) {
            drop_token(&mut next, token);
        } else {
            if is_dead(head) {
                next.break_law(Law::JournaledDead);
            }
            next.tokens[token].phase = Phase::Journaled(node(n));
            next.store.issued |= bit_of(token);
        }
        if !self.breaks(Mutant::IssuesByItsCopy) {
            next.nodes[n].seen = head;
        }
        Some(next)
    }

    /// The end of `Broker::release`: a stop that this node has confirmed since the verdict drops the token.
    pub(crate) fn release(&self, state: &State, n: usize, token: usize) -> State {
        let mut next = *state;
        let is_dead = self.known(state, n, Asked::Token(token)).is_dead;
        if is_dead && !self.breaks(Mutant::ReleasesUnasked) {
            drop_token(&mut next, token);
            return next;
        }
        next.tokens[token].phase = Phase::Released;
        if self.must_refuse(state, n, token) {
            next.break_law(Law::ReleasedStopped);
        }
        if state.store.issued & bit_of(token) == 0 {
            next.break_law(Law::ReleasedWithoutEvent);
        }
        next
    }

    /// `KillSwitch::end`: the holder ends its token. From then on this node refuses it.
    pub(crate) fn end(&self, state: &State, n: usize, token: usize) -> Option<State> {
        let is_live = state.tokens[token].phase == Phase::Released && state.store.facts.ended[token] == 0;
        if !is_live || !state.nodes[n].has_store || state.left.ends == 0 {
            return None;
        }
        let mut next = *state;
        next.left.ends -= 1;
        self.record_end(&mut next, n, token);
        next.tokens[token].must_refuse |= bit_of(n);
        Some(next)
    }

    /// `Broker::notice_lost_history`: a token of this store that knows of later changes than the store tells that the store
    /// was restored. `src/store/postgres/` has to ask the head, because the token may be another node's.
    pub(crate) fn notice_lost_history(&self, state: &State, n: usize, token: usize) -> Option<State> {
        let as_of = state.tokens[token].as_of;
        let asks_nobody = self.breaks(Mutant::TakesOverByItsCopy);
        let known = if asks_nobody { state.nodes[n].seen } else { state.store.facts };
        if !state.nodes[n].has_store
            || state.tokens[token].phase != Phase::Released
            || as_of <= known.revision
        {
            return None;
        }
        let mut next = *state;
        let theirs = self.real.complete_to(&known, (as_of, known.era));
        self.adopt(&mut next, &theirs);
        self.book(&mut next, n);
        Some(next)
    }
}

fn node(n: usize) -> u8 {
    u8::try_from(n).expect("few nodes")
}
