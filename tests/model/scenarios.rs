//! The bounds of the histories that are checked.

use std::time::Instant;

use crate::checker::{Outcome, check};
use crate::facts::{Cast, Name};
use crate::mutants::Mutant;
use crate::rules::Rules;
use crate::state::Left;
use crate::world::World;

/// Two tokens of one agent.
pub(crate) const FIRST: Cast = Cast { is_handed_down: false, targets: [Name::First, Name::Everything] };
/// The second token is handed down from the first to another agent.
pub(crate) const HANDED_DOWN: Cast = Cast { is_handed_down: true, targets: [Name::First, Name::Second] };
/// One of the targets is a token.
pub(crate) const TOKEN: Cast = Cast { is_handed_down: true, targets: [Name::Token(0), Name::Everything] };

/// One token, one stop, its lift; nothing goes wrong.
pub(crate) const BOUNDS: Left = Left { targets: 1, tokens: 1, stops: 1, lifts: 1, ..NOTHING };

const NOTHING: Left = Left {
    targets: 0,
    tokens: 0,
    stops: 0,
    lifts: 0,
    ends: 0,
    crashes: 0,
    redis_cuts: 0,
    store_cuts: 0,
    flushes: 0,
    failovers: 0,
    read_only: 0,
    late: 0,
    restores: 0,
    ages: 0,
    ticks: 0,
};

/// So many states at most; a run that reaches it is no proof, and fails.
const MOST: usize = 60_000_000;

#[expect(clippy::print_stdout, reason = "the figures are for a person to read")]
pub(crate) fn run(name: &str, cast: Cast, left: Left, mutant: Option<Mutant>) -> Outcome {
    let started = Instant::now();
    let most = std::env::var("MOST").ok().and_then(|text| text.parse().ok()).unwrap_or(MOST);
    let outcome = check(&World { rules: Rules::new(cast, mutant), left }, most);
    let Outcome { states, transitions, depth, is_complete, .. } = &outcome;
    println!(
        "{name}: {states} states, {transitions} transitions, depth {depth}, complete {is_complete}, {:?}",
        started.elapsed()
    );
    if let Some(violation) = &outcome.violation {
        println!("  {}: {:#?}", violation.law, violation.trace);
    }
    outcome
}
