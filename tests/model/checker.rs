//! A small explicit-state model checker: breadth first through every state that a model can reach, so that the first
//! violation has a shortest trace.
//!
//! What was visited is kept as 128 bits of hash, and the state itself only while it waits for its turn. With 10^8 states
//! two of them share their hash with a chance below 10^-22.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is checked.
pub(crate) trait Model {
    type State: Clone + Hash;
    type Action: Copy + Debug;

    fn first(&self) -> Self::State;

    /// Every action that is possible in `state`, and what it leads to.
    fn next(&self, state: &Self::State, found: &mut Vec<(Self::Action, Self::State)>);

    /// The same state with the two nodes in each other's place, where that makes no difference.
    fn mirrored(&self, state: &Self::State) -> Option<Self::State>;

    /// The law that `state` breaks.
    fn broken(&self, state: &Self::State) -> Option<String>;
}

/// A law that was broken, and the shortest way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) law: String,
    pub(crate) trace: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// How many actions the longest of all shortest ways has.
    pub(crate) depth: usize,
    pub(crate) violation: Option<Violation>,
    /// Whether every state was visited; false where `most` came before the end.
    pub(crate) is_complete: bool,
}

/// Visits every state, until a law is broken or `most` states are known.
pub(crate) fn check<M: Model>(model: &M, most: usize) -> Outcome {
    let first = model.first();
    let root = fingerprint(model, &first);
    let mut before: HashMap<u128, u128> = HashMap::from([(root, root)]);
    let mut outcome = Outcome { states: 1, ..Outcome::default() };
    if let Some(law) = model.broken(&first) {
        outcome.violation = Some(Violation { law, trace: Vec::new() });
        return outcome;
    }
    let (mut level, mut found) = (vec![(root, first)], Vec::new());
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for (from, state) in &level {
            model.next(state, &mut found);
            outcome.transitions += found.len();
            for (_, next) in found.drain(..) {
                let print = fingerprint(model, &next);
                if before.contains_key(&print) {
                    continue;
                }
                before.insert(print, *from);
                outcome.states += 1;
                if let Some(law) = model.broken(&next) {
                    let trace = trace(model, &before, root, print);
                    outcome.violation = Some(Violation { law, trace });
                    return outcome;
                }
                if outcome.states >= most {
                    return outcome;
                }
                next_level.push((print, next));
            }
        }
        outcome.depth += usize::from(!next_level.is_empty());
        level = next_level;
    }
    outcome.is_complete = true;
    outcome
}

/// The actions from the first state to the one with the hash `to`.
fn trace<M: Model>(model: &M, before: &HashMap<u128, u128>, root: u128, to: u128) -> Vec<String> {
    let mut way = vec![to];
    while way.last() != Some(&root) {
        way.push(before[way.last().expect("it begins with `to`")]);
    }
    let (mut state, mut actions, mut found) = (model.first(), Vec::new(), Vec::new());
    for print in way.iter().rev().skip(1) {
        model.next(&state, &mut found);
        let step = found.drain(..).find(|(_, next)| fingerprint(model, next) == *print);
        let (action, next) = step.expect("this step was found before");
        actions.push(format!("{action:?}"));
        state = next;
    }
    actions
}

/// Collects what is hashed: the library's hasher is compiled with optimization also where a test is not.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn finish(&self) -> u64 {
        unreachable!("the bytes are hashed, and not this")
    }
}

/// The same for a state and its mirror image, of which one is visited.
fn fingerprint<M: Model>(model: &M, state: &M::State) -> u128 {
    let print = hash(state);
    model.mirrored(state).map_or(print, |mirrored| print.min(hash(&mirrored)))
}

fn hash(state: &impl Hash) -> u128 {
    let mut bytes = Bytes::default();
    state.hash(&mut bytes);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(&bytes.0);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

mod tests {
    use super::*;

    /// Two processes that each add one to a number in two steps: read, and write.
    struct Counter {
        is_locked: bool,
    }

    #[derive(Clone, Hash, Default)]
    struct Count {
        number: u8,
        lock: bool,
        /// What each has read; 255 when it is done.
        read: [Option<u8>; 2],
    }

    /// What is done, and by which of the two.
    type Step = (&'static str, usize);

    impl Model for Counter {
        type State = Count;
        type Action = Step;

        fn first(&self) -> Count {
            Count::default()
        }

        fn next(&self, state: &Count, found: &mut Vec<(Step, Count)>) {
            for n in 0..2 {
                let mut next = state.clone();
                match state.read[n] {
                    None if !(self.is_locked && state.lock) => {
                        (next.read[n], next.lock) = (Some(state.number), true);
                        found.push((("reads", n), next));
                    }
                    Some(read) if read < 255 => {
                        (next.number, next.read[n], next.lock) = (read + 1, Some(255), false);
                        found.push((("writes", n), next));
                    }
                    _ => {}
                }
            }
        }

        fn mirrored(&self, state: &Count) -> Option<Count> {
            let Count { number, lock, read: [first, second] } = *state;
            self.is_locked.then_some(Count { number, lock, read: [second, first] })
        }

        fn broken(&self, state: &Count) -> Option<String> {
            let is_done = state.read == [Some(255); 2];
            (is_done && state.number != 2).then(|| "an addition is lost".to_owned())
        }
    }

    #[test]
    fn a_planted_race_is_found_with_a_shortest_trace() {
        let outcome = check(&Counter { is_locked: false }, usize::MAX);
        let violation = outcome.violation.unwrap();
        assert_eq!(violation.law, "an addition is lost");
        assert_eq!(
            violation.trace,
            [r#"("reads", 0)"#, r#"("reads", 1)"#, r#"("writes", 0)"#, r#"("writes", 1)"#]
        );
        assert!(!outcome.is_complete);
    }

    #[test]
    fn every_state_is_visited_once() {
        let outcome = check(&Counter { is_locked: true }, usize::MAX);
        assert_eq!(outcome.violation, None);
        // Of none, one has read; one has written; the other has read; both have written: either in its mirror image.
        assert_eq!((outcome.states, outcome.transitions, outcome.depth), (5, 5, 4));
        assert!(outcome.is_complete);
        let cut_off = check(&Counter { is_locked: true }, 3);
        assert_eq!((cut_off.states, cut_off.is_complete), (3, false));
    }
}
