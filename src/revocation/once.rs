//! Which proofs were used: what a node remembers of it in its own memory, for each agent apart.
//!
//! An agent that sends more proofs than are remembered for one is refused until some of its own expire. No
//! other agent is refused for it, and none of theirs is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::digest::Digest;
use crate::domain::id::AgentId;
use crate::domain::time::{Clock, Timestamp};
use crate::revocation::RevocationError;

/// The most proofs that are remembered for one agent: about 3 MiB. Assertions live 5 minutes at most, so
/// this is 100 a second, for as long as the agent likes; in bursts it is more.
pub(super) const CAPACITY: usize = 1 << 15;

/// A full memory is searched for expired entries no more often than this.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// Agents are looked through for those without any entry once there are twice as many as were left the last time,
/// and at least so many.
const FEW_AGENTS: usize = 1024;

/// How long a proof that was used is remembered at most beyond its time, where the clock was set back: it may be
/// good again by that clock.
const LONGEST_GRACE: Duration = Duration::from_secs(60 * 60);

/// When a proof is used: by the monotonic clock and by the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    pub(super) wall: Timestamp,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { monotonic: Instant::now(), wall: clock.now() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Agents>);

#[derive(Debug)]
struct Agents {
    used: HashMap<AgentId, Used>,
    look_through_at: usize,
}

impl Default for Agents {
    fn default() -> Self {
        Self { used: HashMap::new(), look_through_at: FEW_AGENTS }
    }
}

/// What one agent used up.
#[derive(Debug)]
struct Used {
    marks: HashMap<Digest, Mark>,
    /// The size at which expired entries are dropped: twice what was left the last time.
    prune_at: usize,
    pruned: Option<Instant>,
}

/// When a proof is dead anyhow.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// By the time that passes, whatever anybody sets the clock to.
    ends: Instant,
    until: Timestamp,
}

impl Mark {
    /// A wall clock that was set forward ends nothing; one that was set back makes the mark last longer.
    fn is_over(&self, now: Moment) -> bool {
        now.monotonic >= self.ends && (now.wall >= self.until || now.monotonic >= self.ends + LONGEST_GRACE)
    }
}

impl Once {
    /// True the first time, false again until `until`, and false where that is past.
    ///
    /// # Errors
    /// [`RevocationError::Full`] where as many as may be are remembered for this agent.
    pub(super) fn use_up(
        &self,
        agent: &AgentId,
        key: Digest,
        until: Timestamp,
        now: Moment,
    ) -> Result<bool, RevocationError> {
        let left = until.since(now.wall);
        if left.is_zero() {
            return Ok(false);
        }
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = agents.of(agent, now);
        if used.marks.get(&key).is_some_and(|mark| !mark.is_over(now)) {
            return Ok(false);
        }
        if used.marks.len() >= used.prune_at {
            used.prune(now);
        }
        if used.marks.len() >= CAPACITY {
            return Err(RevocationError::Full);
        }
        used.marks.insert(key, Mark { ends: now.monotonic + left, until });
        Ok(true)
    }

    /// Whether it is remembered that `agent` used `key` up. A mark is dropped only after its proof is over.
    pub(super) fn is_used(&self, agent: &AgentId, key: &Digest) -> bool {
        let agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agents.used.get(agent).is_some_and(|used| used.marks.contains_key(key))
    }

    /// Takes back [`Self::use_up`] of a proof that was not accepted after all.
    pub(super) fn forget(&self, agent: &AgentId, key: &Digest) {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = agents.used.get_mut(agent) {
            used.marks.remove(key);
        }
    }
}

impl Agents {
    fn of(&mut self, agent: &AgentId, now: Moment) -> &mut Used {
        if self.used.len() >= self.look_through_at && !self.used.contains_key(agent) {
            self.used.retain(|_, used| {
                used.marks.retain(|_, mark| !mark.is_over(now));
                !used.marks.is_empty()
            });
            self.look_through_at = FEW_AGENTS.max(self.used.len() * 2);
        }
        let unused = || Used { marks: HashMap::new(), prune_at: 64, pruned: None };
        self.used.entry(agent.clone()).or_insert_with(unused)
    }
}

impl Used {
    fn prune(&mut self, now: Moment) {
        let full = self.marks.len() >= CAPACITY;
        if full && self.pruned.is_some_and(|at| now.monotonic.saturating_duration_since(at) < PRUNE_EVERY) {
            return;
        }
        self.pruned = Some(now.monotonic);
        self.marks.retain(|_, mark| !mark.is_over(now));
        self.marks.shrink_to(self.marks.len() * 2);
        self.prune_at = (self.marks.len() * 2).clamp(64, CAPACITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    /// Both clocks, so many seconds after a start.
    struct Clocks(Instant);

    impl Clocks {
        fn at(&self, monotonic: u64, wall: i64) -> Moment {
            let monotonic = self.0 + Duration::from_secs(monotonic);
            Moment { monotonic, wall: Timestamp::from_seconds(wall) }
        }
    }

    fn set_up() -> (Once, Clocks, AgentId, AgentId) {
        (Once::default(), Clocks(Instant::now()), "loud".parse().unwrap(), "quiet".parse().unwrap())
    }

    #[test]
    fn an_agent_that_fills_its_memory_costs_no_other_anything() {
        let (once, clocks, loud, quiet) = set_up();
        let until = Timestamp::from_seconds(300);
        assert_eq!(once.use_up(&quiet, key(0), until, clocks.at(0, 0)), Ok(true));
        // 800 a second for five minutes.
        let refused = (0..240_000).filter(|n| {
            let now = clocks.at(n / 800, (n / 800) as i64);
            let used = once.use_up(&loud, key(*n as usize), now.wall + Duration::from_secs(300), now);
            used == Err(RevocationError::Full)
        });
        assert_eq!(refused.count(), 240_000 - CAPACITY);
        let now = clocks.at(299, 299);
        assert_eq!(once.use_up(&quiet, key(0), until, now), Ok(false), "nothing of another is forgotten");
        assert_eq!(once.use_up(&quiet, key(1), now.wall + Duration::from_secs(9), now), Ok(true));
        assert_eq!(once.use_up(&loud, key(5), until, now), Ok(false), "its own is still refused");
        let used = once.0.lock().unwrap();
        assert_eq!((used.used[&loud].marks.len(), used.used[&quiet].marks.len()), (CAPACITY, 2));
    }

    #[test]
    fn a_full_memory_takes_more_when_something_expires() {
        let (once, clocks, agent, _) = set_up();
        let at = Timestamp::from_seconds;
        for n in 0..CAPACITY {
            let until = at(if n == 7 { 50 } else { 100 });
            assert_eq!(once.use_up(&agent, key(n), until, clocks.at(0, 0)), Ok(true));
        }
        let more = key(CAPACITY);
        assert_eq!(once.use_up(&agent, more, at(100), clocks.at(49, 49)), Err(RevocationError::Full));
        assert_eq!(once.use_up(&agent, more, at(100), clocks.at(51, 51)), Ok(true), "one expired");
        assert_eq!(once.use_up(&agent, key(CAPACITY + 1), at(200), clocks.at(101, 101)), Ok(true));
        assert_eq!(once.0.lock().unwrap().used[&agent].marks.len(), 1);
    }

    /// A wall clock that jumps an hour ahead made every mark a thing of the past, and the proofs are good again
    /// when it is set right.
    #[test]
    fn a_wall_clock_that_is_set_back_makes_no_proof_good_again_for_an_hour() {
        let (once, clocks, agent, _) = set_up();
        let until = Timestamp::from_seconds(300);
        for n in 0..64 {
            assert_eq!(once.use_up(&agent, key(n), until, clocks.at(0, 0)), Ok(true));
        }
        // Others are used up meanwhile, so that what is over is dropped.
        for n in 64..200 {
            let now = clocks.at(1, 3600);
            assert_eq!(once.use_up(&agent, key(n), now.wall + Duration::from_secs(60), now), Ok(true));
        }
        assert_eq!(once.use_up(&agent, key(7), until, clocks.at(2, 2)), Ok(false), "set ahead and back");
        // Set back by 200 s: at 301 s it is good again by the wall clock.
        assert_eq!(once.use_up(&agent, key(7), until, clocks.at(301, 101)), Ok(false), "set back");
        assert_eq!(once.use_up(&agent, key(7), Timestamp::from_seconds(900), clocks.at(501, 301)), Ok(true));
    }

    #[test]
    fn agents_without_marks_are_forgotten() {
        let (once, clocks, ..) = set_up();
        for n in 0..3000 {
            let agent: AgentId = format!("agent-{n}").parse().unwrap();
            let now = clocks.at(n, n as i64);
            assert_eq!(once.use_up(&agent, key(0), now.wall + Duration::from_secs(10), now), Ok(true));
        }
        assert!(once.0.lock().unwrap().used.len() <= FEW_AGENTS);
    }

    #[test]
    fn what_was_not_accepted_can_be_sent_again() {
        let (once, clocks, agent, other) = set_up();
        let until = Timestamp::from_seconds(300);
        assert_eq!(once.use_up(&agent, key(1), until, clocks.at(0, 0)), Ok(true));
        once.forget(&other, &key(1));
        assert_eq!(once.use_up(&agent, key(1), until, clocks.at(0, 0)), Ok(false));
        once.forget(&agent, &key(1));
        assert_eq!(once.use_up(&agent, key(1), until, clocks.at(0, 0)), Ok(true));
    }
}
