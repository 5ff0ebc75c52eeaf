//! What there is at one moment: two nodes, the store, Redis, the tokens; and what was promised to whom.

use crate::facts::{Facts, STOPS, TARGETS, TOKENS};

pub(crate) const NODES: usize = 2;
/// Both nodes.
pub(crate) const ALL: u8 = 0b11;
/// So many ticks after a return, two times `max_staleness` have passed at least.
pub(crate) const LATE: u8 = 3;
/// Changes that one history can have.
const CHANGES: usize = 16;

/// One state of the whole installation. The part of the law (`stops`, `tokens[].must_refuse`) is known to nobody in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) nodes: [Node; NODES],
    pub(crate) store: Store,
    pub(crate) backup: Option<Store>,
    pub(crate) redis: Redis,
    /// An older copy of Redis: a replica that lags, or what was on its disk.
    pub(crate) replica: Option<Redis>,
    /// A push that its sender gave up, and that may arrive yet.
    pub(crate) late: Option<Push>,
    pub(crate) tokens: [Token; TOKENS],
    pub(crate) stops: [Stop; STOPS],
    /// The store was restored, and what it lost is not taken over yet.
    pub(crate) lost_history: bool,
    /// How many lives Redis had.
    pub(crate) lives: u8,
    /// What may still happen.
    pub(crate) left: Left,
    /// The law that the last action broke.
    pub(crate) broken: Option<Law>,
}

/// How often each may still happen: the bounds of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Left {
    /// How many of the targets are stopped at all.
    pub(crate) targets: u8,
    pub(crate) tokens: u8,
    pub(crate) stops: u8,
    pub(crate) lifts: u8,
    pub(crate) ends: u8,
    pub(crate) crashes: u8,
    /// Links that break, of a node to Redis.
    pub(crate) redis_cuts: u8,
    /// The same to the store.
    pub(crate) store_cuts: u8,
    pub(crate) flushes: u8,
    pub(crate) failovers: u8,
    pub(crate) read_only: u8,
    pub(crate) late: u8,
    pub(crate) restores: u8,
    /// Two lifetimes of a token that pass.
    pub(crate) ages: u8,
    /// Times of `max_staleness` that pass.
    pub(crate) ticks: u8,
}

/// The shared store: one linearizable head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    pub(crate) facts: Facts,
    /// The number and the era of each change, in order.
    pub(crate) changes: [(u8, u8); CHANGES],
    pub(crate) len: u8,
    pub(crate) era: u8,
    /// The stops whose ids it knows.
    pub(crate) known: u8,
    /// The tokens whose events it has.
    pub(crate) issued: u8,
}

impl Store {
    /// Whether the history has this change: `Store::mark`.
    pub(crate) fn has(&self, point: (u8, u8)) -> bool {
        point.0 == 0 || self.changes[..self.len.into()].contains(&point)
    }

    /// Gives the next change its number.
    pub(crate) fn next(&mut self) -> u8 {
        let revision = self.facts.revision + 1;
        (self.facts.revision, self.facts.era) = (revision, self.era);
        self.changes[usize::from(self.len)] = (revision, self.era);
        self.len += 1;
        revision
    }
}

/// What Redis says of itself: `wire::State`. A life of 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Place {
    pub(crate) life: u8,
    pub(crate) serial: u8,
    pub(crate) point: (u8, u8),
    pub(crate) floor: u8,
}

impl Place {
    /// `State::may_follow`.
    pub(crate) fn may_follow(&self, before: &Self) -> bool {
        self.life == before.life && self.serial >= before.serial && self.point.0 >= before.point.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Redis {
    /// 0 where it is empty.
    pub(crate) life: u8,
    pub(crate) serial: u8,
    pub(crate) facts: Facts,
    /// It answers, and refuses writes.
    pub(crate) is_read_only: bool,
}

impl Redis {
    pub(crate) fn place(&self) -> Place {
        let Facts { floor, .. } = self.facts;
        match self.life {
            0 => Place::default(),
            life => Place { life, serial: self.serial, point: self.facts.point(), floor },
        }
    }
}

/// A call of `push.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Push {
    /// On which state it builds: life, revision, mark.
    pub(crate) base: (u8, (u8, u8)),
    pub(crate) reached: u8,
    pub(crate) begins_anew: bool,
    /// Standings, ends and stops without a number; and where Redis is afterwards.
    pub(crate) items: Facts,
    /// Stops that have their numbers now, as bits.
    pub(crate) numbered: u8,
    /// Not the last part.
    pub(crate) is_part: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    pub(crate) is_up: bool,
    pub(crate) has_redis: bool,
    pub(crate) has_store: bool,
    /// Its follower cannot follow, or not write: `Redis::trouble`.
    pub(crate) has_trouble: bool,
    /// Its copy of the store's book: `Store::seen`.
    pub(crate) seen: Facts,
    pub(crate) view: Facts,
    /// Ticks since the view was up to date; 2 is stale.
    pub(crate) age: u8,
    /// It has had a round and kept Redis level since the last tick.
    pub(crate) had_round: bool,
    /// Its connection was written to since it was made.
    pub(crate) is_trusted: bool,
    pub(crate) reached: Place,
    pub(crate) followed: Place,
    /// Its follower reads the log from `followed`.
    pub(crate) is_following: bool,
    /// It has had its round, and not looked yet whether Redis is level with the store.
    pub(crate) is_level_due: bool,
    pub(crate) verified: (u8, u8),
    /// Which of its stops without a number Redis took, and in which life.
    pub(crate) given: (u8, u8),
    /// Its stops that wait for the store, as bits. They are in a file.
    pub(crate) waiting: u8,
    /// Stops that got their numbers, which Redis has to be told.
    pub(crate) numbered: u8,
    pub(crate) is_behind: bool,
    /// Up to where it has taken over what a restored store lost.
    pub(crate) taken_over: Option<((u8, u8), u8)>,
    /// It has heard of the other one: `Roster`.
    pub(crate) knows_other: bool,
    pub(crate) revoking: Option<Revoking>,
}

/// A `revoke` that has not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Revoking {
    pub(crate) stop: u8,
    /// Whether the store has the stop.
    pub(crate) is_numbered: bool,
    /// `Applied`, once it was pushed.
    pub(crate) applied: Option<Applied>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Applied {
    pub(crate) revision: u8,
    pub(crate) life: u8,
    pub(crate) serial: u8,
    /// The connection has not been replaced since.
    pub(crate) is_same_session: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Phase {
    #[default]
    None,
    /// Decided and signed at a node.
    Decided(u8),
    /// Its event is in the store, and the node has not released it yet.
    Journaled(u8),
    Released,
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Token {
    pub(crate) phase: Phase,
    pub(crate) as_of: u8,
    /// The nodes of which somebody was told that they refuse it. For ever: no lift takes one away.
    pub(crate) must_refuse: u8,
}

/// What the law knows of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Stop {
    pub(crate) exists: bool,
    pub(crate) target: u8,
    /// Whose clock it was taken by, where that makes a difference.
    pub(crate) clock: u8,
    pub(crate) is_lifted: bool,
    /// The number that the store gave it first.
    pub(crate) number: u8,
    /// The nodes of which `revoke` said that they refuse.
    pub(crate) promised: u8,
    /// The tokens that it killed, as bits.
    pub(crate) killed: u8,
    /// Ticks since `revoke` returned, up to [`LATE`]; one more before.
    pub(crate) since: u8,
}

impl Stop {
    pub(crate) fn holds(&self) -> bool {
        self.exists && !self.is_lifted
    }
}

/// Which law was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Law {
    /// An issuance was journaled that was dead by the changes journaled before it.
    JournaledDead,
    /// A node released a token although `revoke` had said that it refuses.
    ReleasedStopped,
    ReleasedWithoutEvent,
    /// A node found a token alive although somebody was told that it refuses it.
    AcceptedStopped,
    /// Two times `max_staleness` after `revoke` had returned, a node accepted a token, or its view did and passed for fresh.
    StaleAccepted,
    /// `revoke` named a node that has not applied the stop.
    ConfirmedUnseen,
    /// Redis, or a view, says that it holds every change up to a number, and lacks one.
    Incomplete,
    /// The store was treated as restored, and was not.
    TookOverForNothing,
}

impl State {
    pub(crate) fn as_ofs(&self) -> [u8; TOKENS] {
        std::array::from_fn(|n| self.tokens[n].as_of)
    }

    /// The stops without a number of these bits, of each target the first.
    pub(crate) fn unnumbered(&self, stops: u8) -> Facts {
        let mut facts = Facts::default();
        for n in (0..STOPS).filter(|n| stops & 1 << n != 0) {
            let of_target = &mut facts.unnumbered[usize::from(self.stops[n].target)];
            if *of_target == 0 {
                *of_target = u8::try_from(n + 1).expect("few stops");
            }
        }
        facts
    }

    /// The same with the two nodes in each other's place.
    pub(crate) fn mirrored(&self) -> Self {
        let swapped = |nodes: u8| (nodes & 1) << 1 | nodes >> 1;
        let mut mirrored = *self;
        mirrored.nodes.swap(0, 1);
        for token in &mut mirrored.tokens {
            token.must_refuse = swapped(token.must_refuse);
            if let Phase::Decided(node) | Phase::Journaled(node) = &mut token.phase {
                *node = 1 - *node;
            }
        }
        for stop in mirrored.stops.iter_mut().filter(|stop| stop.exists) {
            stop.promised = swapped(stop.promised);
        }
        mirrored
    }

    pub(crate) fn break_law(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }
}

/// The bit of a stop, which are called from 1.
pub(crate) fn bit(stop: u8) -> u8 {
    1 << (stop - 1)
}

/// The bit of a node, a target or a token.
pub(crate) const fn bit_of(n: usize) -> u8 {
    1 << n
}

/// Every target.
pub(crate) fn targets() -> std::ops::Range<usize> {
    0..TARGETS
}
