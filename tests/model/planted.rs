//! Each rule that is broken on purpose, in the smallest history that shows it: the checker finds a way to what it leads to.

use crate::checker::check;
use crate::facts::Cast;
use crate::mutants::Mutant;
use crate::rules::Rules;
use crate::scenarios::{BOUNDS, FIRST, HANDED_DOWN, run};
use crate::state::{Law, Left};
use crate::world::World;

#[track_caller]
fn found(mutant: Mutant, law: Law, left: Left) {
    found_among(mutant, law, FIRST, left);
}

#[track_caller]
fn found_among(mutant: Mutant, law: Law, cast: Cast, left: Left) {
    let outcome = run(&format!("{mutant:?}"), cast, left, Some(mutant));
    let violation = outcome.violation.expect("it is found");
    assert_eq!(violation.law, format!("{law:?}"), "{:#?}", violation.trace);
    // The trace is the rule's own: the rule as it is breaks no law in as many states of the same history.
    let kept = check(&World { rules: Rules::new(cast, None), left }, outcome.states);
    assert_eq!(kept.violation, None);
}

const ONE: Left = Left { stops: 1, lifts: 0, ..BOUNDS };

#[test]
fn a_report_before_the_view_has_learned_confirms_what_is_not_obeyed() {
    found(Mutant::ConfirmsBeforeItApplies, Law::ConfirmedUnseen, Left { tokens: 0, ..ONE });
}

#[test]
fn a_confirmation_over_another_connection_confirms_a_push_that_was_lost() {
    let left = Left { tokens: 0, stops: 2, targets: 2, store_cuts: 2, failovers: 1, ..ONE };
    found(Mutant::ConfirmsOverAnotherConnection, Law::ConfirmedUnseen, left);
}

#[test]
fn a_merge_by_instants_loses_the_stop_of_a_slow_clock() {
    found(Mutant::MergesByTime, Law::Incomplete, Left { tokens: 0, stops: 2, lifts: 1, ..ONE });
}

#[test]
fn a_redis_that_forgot_is_not_believed() {
    let left = Left { store_cuts: 1, flushes: 1, ..ONE };
    found(Mutant::ForgetsAmnesia, Law::AcceptedStopped, left);
}

#[test]
fn a_refill_that_looks_at_nothing_undoes_a_newer_stop() {
    found(Mutant::PushesBlindly, Law::Incomplete, Left { tokens: 0, stops: 2, lifts: 1, late: 1, ..ONE });
}

#[test]
fn an_issuance_that_does_not_ask_the_head_is_journaled_after_the_stop() {
    found(Mutant::IssuesByItsCopy, Law::JournaledDead, ONE);
}

#[test]
fn a_release_without_a_last_look_comes_after_the_confirmation() {
    found(Mutant::ReleasesUnasked, Law::ReleasedStopped, ONE);
}

#[test]
fn a_restored_store_is_not_relied_on_alone() {
    found(Mutant::TrustsRestoredStore, Law::AcceptedStopped, Left { restores: 1, redis_cuts: 1, ..ONE });
}

#[test]
fn a_takeover_that_raises_no_floor_revives_the_tokens_of_the_lost_history() {
    // A million states come before it.
    if std::env::var_os("HALLPASS_LONG").is_none() {
        return;
    }
    found(
        Mutant::TakesOverWithoutFloor,
        Law::AcceptedStopped,
        Left { lifts: 1, restores: 1, flushes: 1, ..ONE },
    );
}

#[test]
fn a_lift_that_ends_more_than_the_stop_revives_older_tokens() {
    found(Mutant::LiftRevives, Law::AcceptedStopped, Left { lifts: 1, ..ONE });
    let left = Left { tokens: 2, lifts: 1, ..ONE };
    found_among(Mutant::LiftRevives, Law::AcceptedStopped, HANDED_DOWN, left);
}

#[test]
fn a_node_without_redis_asks_the_head_and_not_its_copy() {
    let left = Left { redis_cuts: 1, ticks: 3, ..ONE };
    found(Mutant::FallsBackToItsCopy, Law::StaleAccepted, left);
}

#[test]
fn a_token_of_another_node_is_not_taken_for_one_of_a_lost_history() {
    found(Mutant::TakesOverByItsCopy, Law::TookOverForNothing, Left { lifts: 1, ..ONE });
}

#[test]
fn a_view_that_forgets_before_it_learns_lacks_a_stop_that_it_confirmed() {
    found(Mutant::ForgetsBeforeItLearns, Law::ConfirmedUnseen, Left { tokens: 0, store_cuts: 1, ..ONE });
}

#[test]
fn a_node_that_redis_does_not_know_is_pending() {
    let left = Left { redis_cuts: 1, crashes: 1, ..ONE };
    found(Mutant::KnowsNodesFromRedisAlone, Law::ReleasedStopped, left);
}
