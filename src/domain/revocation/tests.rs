use proptest::prelude::*;

use super::*;
use std::time::Duration;

fn id(n: u8) -> StopId {
    StopId::new(Timestamp::from_seconds(1), &[n; 10])
}

fn levels() -> Levels {
    Levels {
        tokens: vec![TokenId::new(Timestamp::from_seconds(1), &[7; 10])],
        agent: "payments".parse().unwrap(),
        owner: "team-payments".parse().unwrap(),
        issuer: "github".parse().unwrap(),
        above: Vec::new(),
    }
}

/// The same token, handed down by two others.
fn handed_down() -> Levels {
    let holder = |name: &str| Holder {
        agent: format!("{name}-agent").parse().unwrap(),
        owner: format!("team-{name}").parse().unwrap(),
        issuer: name.parse().unwrap(),
    };
    let first = TokenId::new(Timestamp::from_seconds(1), &[8; 10]);
    let second = Levels::of(first, holder("gitlab")).handed_to(holder("cluster"));
    let Levels { agent, owner, issuer, tokens, .. } = levels();
    let third = second.handed_to(Holder { agent, owner, issuer });
    Levels { tokens: [tokens, third.tokens].concat(), ..third }
}

fn stop(n: u8, target: Target, at: i64, lifted: Option<i64>) -> Stop {
    let lift = lifted.map(|at| Lift {
        at: Timestamp::from_seconds(at) + Duration::from_millis(1),
        reason: "over".into(),
        operator: "oncall".parse().unwrap(),
    });
    Stop { id: id(n), target, at: Timestamp::from_seconds(at), reason: "leak".into(), operator: None, lift }
}

#[test]
fn every_hand_that_a_token_went_through_can_be_stopped() {
    let targets: Vec<String> = handed_down().targets().iter().map(ToString::to_string).collect();
    let names = ["payments", "gitlab-agent", "cluster-agent"].map(|agent| format!("agent:{agent}"));
    let teams = ["team-payments", "team-gitlab", "team-cluster"].map(|team| format!("owner:{team}"));
    let issuers = ["github", "gitlab", "cluster"].map(|issuer| format!("issuer:{issuer}"));
    for target in names.iter().chain(&teams).chain(&issuers).chain(&["everything".to_owned()]) {
        assert!(targets.contains(target), "{target} is not among {targets:?}");
    }
    assert_eq!(targets.len(), 12, "and two tokens: {targets:?}");
}

#[test]
fn targets_print_as_they_parse() {
    for target in levels().targets() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
    for wrong in ["", "agent", "agent:", "agent:UPPER", "token:x", "everything:", "Everything", "team:x"] {
        assert_eq!(wrong.parse::<Target>(), Err(InvalidTarget), "{wrong}");
    }
}

/// One history of stops on the levels of one token: (level, stopped at, lifted after).
fn history() -> impl Strategy<Value = Vec<(usize, i64, Option<i64>)>> {
    prop::collection::vec((0usize..16, 1_000i64..1_100, prop::option::of(0i64..50)), 0..8)
}

proptest! {
    /// Law 2, from the definition: dead iff some covering level is stopped, or was at or after `iat`.
    #[test]
    fn dead_iff_a_level_is_or_was_stopped(history in history(), iat in 990i64..1_160, turn in 0usize..8, handed in any::<bool>()) {
        let levels = if handed { handed_down() } else { levels() };
        let targets = levels.targets();
        let mut stops: Vec<Stop> = Vec::new();
        for (n, &(level, at, lifted)) in history.iter().enumerate() {
            let target = &targets[level % targets.len()];
            // A target is stopped again only after its stop was lifted, and later: what the store keeps.
            let last = stops.iter().rev().find(|s| s.target == *target);
            let at = match last.map(|s| s.lift.as_ref()) {
                Some(None) => continue,
                Some(Some(lift)) => at.max(lift.at.seconds() + 1),
                None => at,
            };
            stops.push(stop(n as u8, target.clone(), at, lifted.map(|after| at + after)));
        }
        let dead = stops.iter().any(|s| match &s.lift {
            None => true,
            Some(lift) => iat <= lift.at.seconds(),
        });
        // Standings merge in any order.
        let middle = turn.min(stops.len());
        stops.rotate_left(middle);
        let book = StopBook::of(&stops, Timestamp::from_seconds(1_200));
        prop_assert_eq!(book.verdict(&levels).kills(iat), dead);
    }

    /// Lifting never resurrects: whatever was dead before a lift is dead after it.
    #[test]
    fn dead_stays_dead(at in 1_000i64..1_100, after in 0i64..100, iat in 0i64..1_100) {
        let mut book = StopBook::default();
        let mut one = stop(1, Target::Everything, at, None);
        book.note(one.target.clone(), one.standing());
        let issued_before = iat <= at;
        one.lift = stop(1, Target::Everything, at, Some(at + after)).lift;
        book.note(one.target.clone(), one.standing());
        prop_assert!(!issued_before || book.verdict(&levels()).kills(iat));
        prop_assert!(!book.verdict(&levels()).kills(at + after + 1));
    }

    /// What is forgotten could not have killed a token that still lives.
    #[test]
    fn forgetting_resurrects_nothing(at in 1_000i64..9_000, after in 0i64..100, now in 1_000i64..20_000) {
        let lifted = stop(1, Target::Everything, at, Some(at + after));
        let book = StopBook::of([&lifted], Timestamp::from_seconds(now));
        let lifetime = MAX_TOKEN_LIFETIME.as_secs() as i64;
        if book.get(&Target::Everything).is_none() {
            prop_assert!(at + after + lifetime < now);
        }
    }
}

#[test]
fn a_stop_of_a_token_is_forgotten_when_the_token_is_long_dead() {
    let token = Target::Token(levels().tokens[0]);
    let old = stop(1, token.clone(), 1_000, None);
    let after = |seconds| StopBook::of([&old], Timestamp::from_seconds(1_000 + seconds));
    assert!(after(MAX_TOKEN_LIFETIME.as_secs() as i64).get(&token).is_some());
    assert!(after(3 * MAX_TOKEN_LIFETIME.as_secs() as i64).get(&token).is_none());
}

#[test]
fn an_active_stop_is_never_forgotten() {
    let old = stop(1, Target::Everything, 1, None);
    let book = StopBook::of([&old], Timestamp::from_seconds(1_000_000_000));
    assert_eq!(book.verdict(&levels()).stopped, Some(Target::Everything));
}
