//! Law 2 over three nodes: whatever happens in whatever order, and whatever their wall clocks say, a token is dead iff a
//! level that covers it is stopped now, or was last stopped at a revision above its `as_of`.
//!
//! `HALLPASS_LONG=1` runs more than 10^6 operations and prints what there was of each kind.

mod law;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{Holder, Levels, Revision, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::law::{Law, Token, holder};
use self::world::{Authority, Store, World};

/// What happens: a kind, and three numbers that choose among what there is.
type Op = (u8, u8, u8, u8);

/// A request that was decided, and is not committed yet.
struct Decided {
    chain: Vec<(TokenId, Revision, Holder)>,
}

#[derive(Default)]
struct Run {
    world: World,
    law: Law,
    tokens: Vec<Token>,
    decided: Vec<Decided>,
    /// Stops that wait for the store, or whose numbers Redis was not told: they may be seen, and need not.
    loose: Vec<(Target, StopId)>,
    backup: Option<(Store, Law)>,
    snapshot: Option<Authority>,
    /// Every verdict there was, which the same operations under other clocks must give again.
    trace: Vec<bool>,
    counts: BTreeMap<&'static str, u64>,
}

impl Run {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn target(&self, a: u8, b: u8) -> Target {
        let Holder { agent, owner, issuer } = holder(b);
        match (a % 8, self.tokens.get(usize::from(b) % self.tokens.len().max(1))) {
            (0, _) => Target::Everything,
            (1, _) => Target::Issuer(issuer),
            (2 | 3, _) => Target::Owner(owner),
            (4 | 5, Some(token)) => Target::Token(token.chain.last().unwrap().0),
            _ => Target::Agent(agent),
        }
    }

    /// `clocks` sets the walls: no verdict may depend on it.
    fn step(&mut self, (kind, a, b, c): Op, clocks: i64) {
        let n = usize::from(a) % 3;
        self.world.nodes[n].wall = 1_795_000_000_000 + (i64::from(b) - 128) * clocks;
        match kind % 32 {
            0..=4 => self.decide(n, b, c, false),
            5..=7 => self.decide(n, b, c, true),
            8..=11 => self.commit(b),
            12..=16 => self.check(n, b, c),
            17 | 18 => self.stop(n, &self.target(b, c)),
            19..=21 => self.lift(n, c),
            22 => self.end(n, b),
            23 => self.world.follow(n),
            24 => self.restart(n),
            25 => self.flush(b),
            26 => self.cut(n, b),
            27 => self.fill(b),
            28 => self.journal(n),
            29 => self.back_up_or_restore(b),
            30 => self.expire(),
            _ => self.world.refill(n),
        }
    }

    fn decide(&mut self, n: usize, b: u8, c: u8, from_another: bool) {
        let parent =
            from_another.then(|| self.tokens.get(usize::from(b) % self.tokens.len().max(1))).flatten();
        let mut chain = parent.map(|token| token.chain.clone()).unwrap_or_default();
        let asked = match Levels::of_chain(chain.clone()) {
            Some(above) => above.handed_to(holder(c)),
            None => Levels::asked_by(holder(c)),
        };
        let Some(verdict) = self.world.verdict(n, &asked) else { return self.count("nobody could tell") };
        self.trace.push(verdict.is_dead());
        if verdict.is_dead() {
            return self.count("refused");
        }
        assert!(!self.own_waits(n, &chain, c), "a stop of this node covers it");
        let id = self.world.token_id(n);
        chain.push((id, verdict.as_of, holder(c)));
        self.decided.push(Decided { chain });
        self.count(if from_another { "delegations decided" } else { "issuances decided" });
    }

    /// Whether a stop that waits at this node covers the request.
    fn own_waits(&self, n: usize, chain: &[(TokenId, Revision, Holder)], c: u8) -> bool {
        let mut covers = Law::covers(&holder(c), None);
        covers.extend(chain.iter().flat_map(|(id, _, holder)| Law::covers(holder, Some(*id))));
        self.world.nodes[n].waiting.iter().any(|(target, _)| covers.contains(target))
    }

    /// The issuance transaction asks the same by the stops as committed.
    fn commit(&mut self, b: u8) {
        if self.decided.is_empty() || self.world.store.full {
            return;
        }
        let Decided { chain } = self.decided.swap_remove(usize::from(b) % self.decided.len());
        let levels = Levels::of_chain(chain.clone()).unwrap();
        let dead = self.world.store.book.verdict(&levels).is_dead();
        let token = Token { chain, dead: false };
        assert_eq!(dead, self.law.kills(&token), "committed against the law");
        self.trace.push(dead);
        self.count(if dead { "overtaken before the commit" } else { "issued" });
        if !dead {
            self.tokens.push(token);
        }
    }

    fn check(&mut self, n: usize, b: u8, c: u8) {
        if self.tokens.is_empty() {
            return;
        }
        let at = (usize::from(b) * 256 + usize::from(c)) % self.tokens.len();
        let token = self.tokens[at].clone();
        let levels = Levels::of_chain(token.chain.clone()).unwrap();
        let taken_over = self.world.takeovers;
        let Some(verdict) = self.world.verdict(n, &levels) else { return self.count("nobody could tell") };
        self.after_takeover(taken_over);
        let dead = verdict.is_dead();
        self.trace.push(dead);
        let covers = token.chain.iter().flat_map(|(id, _, holder)| Law::covers(holder, Some(*id)));
        let covers: Vec<Target> = covers.collect();
        let by_law = self.law.kills(&token);
        let at_node = self.world.nodes[n].waiting.iter().any(|(target, _)| covers.contains(target));
        let heard = self.world.authority.as_ref().is_some_and(|authority| {
            covers.iter().any(|target| authority.book.unnumbered_of(target).is_some())
        });
        let must = by_law || at_node || (heard && !self.world.nodes[n].cut_off);
        let may = must || token.dead || self.loose.iter().any(|(target, _)| covers.contains(target));
        assert!(dead || !must, "alive against the law: {verdict:?}");
        assert!(dead || !token.dead, "resurrected: {verdict:?}");
        assert!(may || !dead, "dead without a reason: {verdict:?}");
        self.tokens[at].dead = by_law;
        self.count(if dead { "found dead" } else { "found alive" });
    }

    fn stop(&mut self, n: usize, target: &Target) {
        let id = self.world.stop_id(n);
        if self.world.store.full {
            self.world.nodes[n].waiting.push((target.clone(), id));
            self.loose.push((target.clone(), id));
            self.count("stops without a number");
        } else if let Some(now) = self.world.store.stop(target, id) {
            self.law.stop(target, now);
            self.count("stops");
        }
        self.refill(n);
    }

    fn lift(&mut self, n: usize, c: u8) {
        self.journal(n);
        // By their numbers: ids hold the clock's instant, and would sort otherwise under another.
        let mut stops: Vec<_> = self.law.in_force.iter().map(|(target, at)| (*at, target.clone())).collect();
        stops.sort();
        if stops.is_empty() {
            return;
        }
        let (_, target) = stops.swap_remove(usize::from(c) % stops.len());
        if !self.world.store.full && self.world.store.lift(&target) {
            self.law.in_force.remove(&target);
            self.refill(n);
            self.count("lifts");
        }
    }

    fn end(&mut self, n: usize, b: u8) {
        let Some(token) = self.tokens.get(usize::from(b) % self.tokens.len().max(1)) else { return };
        let id = token.chain.last().unwrap().0;
        if !self.world.store.full {
            self.world.store.end(id);
            self.law.ended.push(id);
            self.refill(n);
            self.count("ends");
        }
    }

    fn refill(&mut self, n: usize) {
        let taken_over = self.world.takeovers;
        self.world.refill(n);
        self.after_takeover(taken_over);
    }

    /// The stops of both histories are in force, under new numbers, and every token that was decided before is dead.
    fn after_takeover(&mut self, before: u32) {
        if self.world.takeovers == before {
            return;
        }
        self.law.everything_before = self.world.store.book.floor();
        for target in std::mem::take(&mut self.law.in_force).into_keys() {
            match self.world.store.book.get(&target) {
                Some(known) => self.law.stop(&target, known.stopped),
                // The token is dead by its age.
                None => assert!(matches!(target, Target::Token(_)), "the stop of {target} is lost"),
            }
        }
        self.count("stores taken over");
    }

    fn restart(&mut self, n: usize) {
        self.world.restart(n);
        self.count("restarts");
    }

    /// Redis is flushed, or falls back to what it held before.
    fn flush(&mut self, b: u8) {
        match b % 3 {
            0 => self.snapshot = self.world.authority.as_ref().map(Authority::copy),
            1 if self.snapshot.is_some() => {
                self.world.authority = self.snapshot.take();
                self.count("redis fell back");
            }
            _ => {
                self.world.authority = None;
                self.count("flushes");
            }
        }
    }

    fn cut(&mut self, n: usize, b: u8) {
        self.world.nodes[n].cut_off = b.is_multiple_of(3);
        if !self.world.nodes[n].cut_off {
            let taken_over = self.world.takeovers;
            self.world.follow(n);
            self.after_takeover(taken_over);
        }
    }

    fn fill(&mut self, b: u8) {
        self.world.store.full = b.is_multiple_of(3);
    }

    /// The store takes what waited.
    fn journal(&mut self, n: usize) {
        if self.world.store.full {
            return;
        }
        for (target, id) in std::mem::take(&mut self.world.nodes[n].waiting) {
            if let Some(now) = self.world.store.stop(&target, id) {
                self.law.stop(&target, now);
            }
            self.world.nodes[n].untold.push((target, id));
            self.count("stops that got their numbers late");
        }
        self.refill(n);
    }

    /// The brokers are ended for it. What neither the copy nor Redis has is lost, and nobody can know of it.
    fn back_up_or_restore(&mut self, b: u8) {
        if !b.is_multiple_of(3) || self.backup.is_none() {
            self.backup = Some((self.world.store.copy(), self.law.clone()));
            return;
        }
        let (store, law) = self.backup.take().unwrap();
        (self.world.store, self.law) = (store, law);
        self.decided.clear();
        for n in 0..3 {
            self.world.restart(n);
            self.world.nodes[n].cut_off = false;
        }
        let theirs = self.world.authority.as_ref().map(|authority| world::copied(&authority.book));
        let taken_over = self.world.takeovers;
        self.world.refill(0);
        if self.world.takeovers == taken_over {
            // Redis was behind the copy, or empty: the tokens since are of a history that nobody has.
            self.tokens.clear();
        } else {
            for (target, standing) in theirs.expect("it was ahead").standings() {
                if standing.stop.is_some() {
                    self.law.in_force.entry(target.clone()).or_insert(standing.stopped);
                }
            }
        }
        self.after_takeover(taken_over);
        (1..3).for_each(|n| self.world.follow(n));
        self.snapshot = None;
        self.count("restored");
    }

    /// Whoever is connected has followed by then, and whoever is not has looked into the store.
    fn hours_pass(&mut self) {
        let taken_over = self.world.takeovers;
        for n in 0..3 {
            self.world.follow(n);
            let store = self.world.store.book.clone();
            self.world.nodes[n].view.merge(&store);
        }
        self.after_takeover(taken_over);
    }

    /// Time passes: everything that was decided before now has expired.
    fn expire(&mut self) {
        if !self.world.store.full {
            self.hours_pass();
            let now = self.world.store.book.revision();
            self.tokens.retain(|token| token.chain.iter().all(|(_, as_of, _)| *as_of >= now));
            self.decided.retain(|one| one.chain.iter().all(|(_, as_of, _)| *as_of >= now));
            self.law.in_force.retain(|target, at| *at > now || !matches!(target, Target::Token(_)));
            self.world.store.book.raise_floor(now);
        }
    }
}

fn run(ops: impl IntoIterator<Item = Op>, clocks: i64) -> Run {
    let mut run = Run::default();
    for op in ops {
        run.step(op, clocks);
    }
    run
}

#[test]
fn no_order_of_events_and_no_clock_breaks_law_2() {
    let ops = prop::collection::vec(any::<Op>(), 1..400);
    let mut runner = TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() });
    runner
        .run(&ops, |ops| {
            let still = run(ops.clone(), 0).trace;
            prop_assert_eq!(&still, &run(ops.clone(), 60_000).trace, "clocks that jump by hours");
            prop_assert_eq!(&still, &run(ops, -13_000_000_000).trace, "clocks that jump by decades");
            Ok(())
        })
        .unwrap();
}

/// xorshift64*: a long run needs many numbers, and the same ones again.
struct Numbers(u64);

impl Numbers {
    fn op(&mut self) -> Op {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let [_, _, a, b, c, d, ..] = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
        (a, b, c, d)
    }
}

#[test]
fn a_long_run() {
    if std::env::var_os("HALLPASS_LONG").is_none() {
        return;
    }
    const WORLDS: u64 = 1_000;
    const OPS: usize = 1_200;
    let started = Instant::now();
    let mut counts = BTreeMap::<&'static str, u64>::new();
    for seed in 1..=WORLDS {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let ops: Vec<Op> = (0..OPS).map(|_| numbers.op()).collect();
        let done = std::panic::catch_unwind(|| {
            let still = run(ops.clone(), 0);
            assert_eq!(still.trace, run(ops.clone(), 60_000).trace, "clocks changed a verdict");
            still.counts
        });
        let done = done.unwrap_or_else(|_| panic!("world {seed}"));
        done.into_iter().for_each(|(what, n)| *counts.entry(what).or_default() += n);
    }
    println!(
        "{} operations, each under two clocks, in {:?}: {counts:#?}",
        WORLDS * OPS as u64,
        started.elapsed()
    );
}
