//! Every action that can happen in a state, and the laws that must hold in each.

use crate::checker::Model;
use crate::facts::{Asked, Facts, STOPS, TOKENS};
use crate::mutants::Mutant;
use crate::rules::{How, Rules};
use crate::state::{ALL, Law, Left, NODES, Phase, State, bit_of, targets};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Decides {
        node: usize,
        token: usize,
    },
    Journals {
        node: usize,
        token: usize,
    },
    Releases {
        node: usize,
        token: usize,
    },
    Ends {
        node: usize,
        token: usize,
    },
    NoticesLostHistory {
        node: usize,
        token: usize,
    },
    Stops {
        node: usize,
        target: usize,
    },
    Announces {
        node: usize,
    },
    Returns {
        node: usize,
    },
    Lifts {
        node: usize,
        target: usize,
    },
    Numbers {
        node: usize,
        stop: u8,
    },
    ForgetsJournaled {
        node: usize,
        stop: u8,
    },
    FindsNumbered {
        node: usize,
        stop: u8,
    },
    /// A caller that found Redis to have forgotten, or that has changed something, refills it.
    Refills {
        node: usize,
    },
    NoticesLostNumbers {
        node: usize,
    },
    Round {
        node: usize,
    },
    KeepsLevel {
        node: usize,
    },
    CatchesUp {
        node: usize,
    },
    GivesPushUp {
        node: usize,
    },
    LatePushArrives,
    LatePushIsLost,
    /// The process ends after the first part of a push.
    DiesInPush {
        node: usize,
        target: usize,
    },
    Crashes {
        node: usize,
    },
    Starts {
        node: usize,
    },
    LosesRedis {
        node: usize,
    },
    FindsRedis {
        node: usize,
    },
    LosesStore {
        node: usize,
    },
    FindsStore {
        node: usize,
    },
    RedisIsFlushed,
    ReplicaStopsFollowing,
    RedisFailsOver,
    RedisRefusesWrites,
    RedisTakesWrites,
    StoreIsBackedUp,
    StoreIsRestored {
        is_told: bool,
    },
    TwoLifetimesPass,
    MaxStalenessPasses,
}

pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) left: Left,
}

impl Model for World {
    type State = State;
    type Action = Action;

    /// Two nodes that have followed an empty Redis, and know each other.
    fn first(&self) -> State {
        let mut state = State { left: self.left, ..State::default() };
        for n in 0..NODES {
            (state.nodes[n].has_redis, state.nodes[n].has_store) = (true, true);
            state = self.rules.start(&state, n).expect("it starts");
        }
        for _ in 0..2 {
            for n in 0..NODES {
                state = self.rules.catch_up(&state, n).unwrap_or(state);
                state = self.rules.round(&state, n).expect("a round");
                state = self.rules.keep_level(&state, n).unwrap_or(state);
            }
        }
        for n in 0..NODES {
            self.rules.hear(&mut state, n);
        }
        state
    }

    fn next(&self, state: &State, found: &mut Vec<(Action, State)>) {
        for node in 0..NODES {
            if state.nodes[node].is_up {
                self.tokens(state, node, found);
                self.revocations(state, node, found);
                self.followers(state, node, found);
            }
            self.links(state, node, found);
        }
        self.shared(state, found);
    }

    fn mirrored(&self, state: &State) -> Option<State> {
        (self.rules.mutant != Some(Mutant::MergesByTime)).then(|| state.mirrored())
    }

    fn broken(&self, state: &State) -> Option<String> {
        let law = state.broken.or_else(|| self.broken_by_check(state)).or_else(|| self.incomplete(state));
        law.map(|law| format!("{law:?}"))
    }
}

impl World {
    fn tokens(&self, state: &State, node: usize, found: &mut Vec<(Action, State)>) {
        let rules = &self.rules;
        let at = u8::try_from(node).expect("few nodes");
        for token in 0..TOKENS {
            let phase = state.tokens[token].phase;
            if phase == Phase::None && token < usize::from(state.left.tokens) {
                let decided = rules.decide(state, node, token);
                found.extend(decided.map(|next| (Action::Decides { node, token }, next)));
            }
            if phase == Phase::Decided(at) {
                let journaled = rules.journal(state, node, token);
                found.extend(journaled.map(|next| (Action::Journals { node, token }, next)));
            }
            if phase == Phase::Journaled(at) {
                found.push((Action::Releases { node, token }, rules.release(state, node, token)));
            }
            let ended = rules.end(state, node, token);
            found.extend(ended.map(|next| (Action::Ends { node, token }, next)));
            let noticed = rules.notice_lost_history(state, node, token);
            found.extend(noticed.map(|next| (Action::NoticesLostHistory { node, token }, next)));
        }
    }

    fn revocations(&self, state: &State, node: usize, found: &mut Vec<(Action, State)>) {
        let rules = &self.rules;
        for target in targets().take(state.left.targets.into()) {
            let stopped = rules.stop(state, node, target);
            found.extend(stopped.map(|next| (Action::Stops { node, target }, next)));
            let lifted = rules.lift(state, node, target);
            found.extend(lifted.map(|next| (Action::Lifts { node, target }, next)));
        }
        found.extend(rules.announce(state, node).map(|next| (Action::Announces { node }, next)));
        found.extend(rules.return_(state, node).map(|next| (Action::Returns { node }, next)));
        for stop in 1..=3 {
            let numbered = rules.number(state, node, stop);
            found.extend(numbered.map(|next| (Action::Numbers { node, stop }, next)));
            let forgotten = rules.forget_journaled(state, node, stop);
            found.extend(forgotten.map(|next| (Action::ForgetsJournaled { node, stop }, next)));
            let left_behind = rules.note_left_behind(state, node, stop);
            found.extend(left_behind.map(|next| (Action::FindsNumbered { node, stop }, next)));
        }
    }

    fn followers(&self, state: &State, node: usize, found: &mut Vec<(Action, State)>) {
        let rules = &self.rules;
        found.extend(rules.refill(state, node).map(|next| (Action::Refills { node }, next)));
        found.extend(rules.notice(state, node).map(|next| (Action::NoticesLostNumbers { node }, next)));
        found.extend(rules.round(state, node).map(|next| (Action::Round { node }, next)));
        found.extend(rules.keep_level(state, node).map(|next| (Action::KeepsLevel { node }, next)));
        found.extend(rules.catch_up(state, node).map(|next| (Action::CatchesUp { node }, next)));
        if state.left.late > 0 && state.nodes[node].has_redis {
            self.late(state, node, found);
        }
    }

    fn late(&self, state: &State, node: usize, found: &mut Vec<(Action, State)>) {
        let mut next = *state;
        next.left.late -= 1;
        let reached = state.nodes[node].reached;
        let theirs = if reached.life > 0 { reached } else { state.redis.place() };
        let Ok(push) = self.rules.compose(&mut next, node, (theirs, false), How::InAnyCase) else { return };
        for target in targets().filter(|n| push.items.standings[*n].changed > 0) {
            let mut died = next;
            let mut part = push;
            part.is_part = true;
            part.items =
                Facts { standings: [Default::default(); 2], ended: [0; 2], unnumbered: [0; 2], ..part.items };
            part.items.standings[target] = push.items.standings[target];
            if self.rules.receive(&mut died, &part) {
                self.rules.crash(&mut died, node);
                found.push((Action::DiesInPush { node, target }, died));
            }
        }
        if next.late.is_none() {
            next.late = Some(push);
            self.rules.lose_session(&mut next, node);
            found.push((Action::GivesPushUp { node }, next));
        }
    }

    fn links(&self, state: &State, node: usize, found: &mut Vec<(Action, State)>) {
        let mut change = |action, is_possible: bool, change: &dyn Fn(&mut State)| {
            if is_possible {
                let mut next = *state;
                change(&mut next);
                found.push((action, next));
            }
        };
        let (rules, at) = (&self.rules, &state.nodes[node]);
        change(Action::Crashes { node }, at.is_up && state.left.crashes > 0, &|next| {
            next.left.crashes -= 1;
            rules.crash(next, node);
        });
        change(Action::LosesRedis { node }, at.has_redis && state.left.redis_cuts > 0, &|next| {
            next.left.redis_cuts -= 1;
            rules.lose_session(next, node);
            let node = &mut next.nodes[node];
            (node.has_redis, node.is_following, node.is_level_due) = (false, false, false);
        });
        change(Action::FindsRedis { node }, !at.has_redis, &|next| next.nodes[node].has_redis = true);
        change(Action::LosesStore { node }, at.has_store && state.left.store_cuts > 0, &|next| {
            next.left.store_cuts -= 1;
            next.nodes[node].has_store = false;
        });
        change(Action::FindsStore { node }, !at.has_store, &|next| next.nodes[node].has_store = true);
        found.extend(rules.start(state, node).map(|next| (Action::Starts { node }, next)));
    }

    fn shared(&self, state: &State, found: &mut Vec<(Action, State)>) {
        let mut change = |action, is_possible: bool, change: &dyn Fn(&mut State)| {
            if is_possible {
                let mut next = *state;
                change(&mut next);
                found.push((action, next));
            }
        };
        let (rules, left) = (&self.rules, &state.left);
        change(Action::LatePushArrives, state.late.is_some(), &|next| {
            let Some(push) = next.late.take() else { return };
            if !next.redis.is_read_only {
                rules.receive(next, &push);
            }
        });
        change(Action::LatePushIsLost, state.late.is_some(), &|next| next.late = None);
        change(Action::RedisIsFlushed, left.flushes > 0 && state.redis.life > 0, &|next| {
            next.left.flushes -= 1;
            rules.flush(next);
        });
        change(Action::ReplicaStopsFollowing, left.failovers > 0 && state.replica.is_none(), &|next| {
            next.left.failovers -= 1;
            next.replica = Some(next.redis);
        });
        change(Action::RedisFailsOver, state.replica.is_some(), &|next| rules.fail_over(next));
        let may_refuse = left.read_only > 0 && !state.redis.is_read_only;
        change(Action::RedisRefusesWrites, may_refuse, &|next| {
            next.left.read_only -= 1;
            next.redis.is_read_only = true;
        });
        change(Action::RedisTakesWrites, state.redis.is_read_only, &|next| next.redis.is_read_only = false);
        change(Action::StoreIsBackedUp, left.restores > 0 && state.backup.is_none(), &|next| {
            next.left.restores -= 1;
            next.backup = Some(next.store);
        });
        for is_told in [false, true] {
            change(Action::StoreIsRestored { is_told }, state.backup.is_some(), &|next| {
                rules.restore(next, is_told)
            });
        }
        change(Action::TwoLifetimesPass, left.ages > 0, &|next| {
            next.left.ages -= 1;
            rules.age(next);
        });
        let has_rounds = state.nodes.iter().all(|node| {
            !node.is_up || !node.has_redis || node.has_trouble || (node.is_following && node.had_round)
        });
        change(Action::MaxStalenessPasses, left.ticks > 0 && has_rounds, &|next| {
            next.left.ticks -= 1;
            rules.tick(next);
        });
    }

    /// Every released token is shown to every node, and to every view.
    fn broken_by_check(&self, state: &State) -> Option<Law> {
        for n in (0..NODES).filter(|n| state.nodes[*n].is_up) {
            for token in (0..TOKENS).filter(|token| state.tokens[*token].phase == Phase::Released) {
                let asked = Asked::Token(token);
                let (must, by_now) = (
                    self.rules.must_refuse(state, n, token),
                    self.rules.must_be_refused_by_now(state, token),
                );
                let verdict = (must || by_now).then(|| self.rules.verdict(state, n, asked)).flatten();
                if verdict.is_some_and(|verdict| !verdict.is_dead) {
                    return Some(if must { Law::AcceptedStopped } else { Law::StaleAccepted });
                }
                let node = &state.nodes[n];
                let books = [node.view, Facts::default(), Facts::default(), Facts::default()];
                let is_accepted = || !self.rules.real.verdict(asked, state.as_ofs(), books).is_dead;
                let by_view = node.age < 2 && by_now;
                if by_view && is_accepted() {
                    return Some(Law::StaleAccepted);
                }
            }
        }
        None
    }

    /// Whoever says that it is level with the store has everything that the store has.
    fn incomplete(&self, state: &State) -> Option<Law> {
        let store = &state.store.facts;
        let views = (0..NODES).map(|n| &state.nodes[n].view);
        for book in views.chain((state.redis.life > 0).then_some(&state.redis.facts)) {
            if book.point() != store.point() {
                continue;
            }
            let lacks_stop = targets().any(|n| {
                let (known, has) = (store.standings[n], book.standings[n]);
                known.changed > has.changed && known.changed > book.floor || known.stop > 0 && has.stop == 0
            });
            let lacks_end = (0..TOKENS).any(|n| store.ended[n] > book.floor && book.ended[n] == 0);
            if lacks_stop || lacks_end {
                return Some(Law::Incomplete);
            }
        }
        None
    }
}

/// What `ALL` and `STOPS` promise of each other.
const _: () = assert!(ALL == bit_of(0) | bit_of(1) && STOPS == 3);
