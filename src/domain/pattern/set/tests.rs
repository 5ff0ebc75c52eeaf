use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn pattern() -> impl Strategy<Value = ClaimPattern> {
    let piece = select(&["a", "b", "ab", "é", "/", ":", "*", "**"][..]);
    vec(piece, 1..7).prop_filter_map("no pattern", |pieces| pieces.concat().parse().ok())
}

fn sorted(mut found: Vec<usize>) -> Vec<usize> {
    found.sort_unstable();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_set_finds_what_asking_each_pattern_finds(
        patterns in vec(pattern(), 0..24),
        value in "[abé/:]{0,8}",
        other in pattern(),
    ) {
        let (mut set, mut rules) = (ClaimPatterns::default(), OverlappingPatterns::default());
        for (at, pattern) in patterns.iter().enumerate() {
            set.insert(pattern, at);
            rules.insert(pattern, at);
        }
        let each = |holds: &dyn Fn(&ClaimPattern) -> bool| -> Vec<usize> {
            (0..patterns.len()).filter(|at| holds(&patterns[*at])).collect()
        };
        let mut matching = Vec::new();
        set.matching(&value, |at| matching.push(at));
        prop_assert_eq!(sorted(matching), each(&|pattern| pattern.matches(&value)));
        let overlapping = each(&|pattern| pattern.overlaps(&other));
        let met = |tree: &Tree<usize>, pieces: &[Piece]| tree.meet(pieces, usize::MAX).map(sorted);
        let backwards: Vec<Piece> = other.pieces().iter().rev().copied().collect();
        prop_assert_eq!(met(&rules.forwards, &other.pieces()), Some(overlapping.clone()));
        prop_assert_eq!(met(&rules.backwards, &backwards), Some(overlapping));
    }
}

/// The ten thousandth pattern costs what the tenth did: steps are counted, not time.
#[test]
fn patterns_that_begin_or_end_alike_are_told_apart_in_few_steps() {
    for form in
        ["acme/mono/.github/workflows/agent-N.yml@*", "*/agent-N", "repo:acme/mono:*:agent-N:**", "**agent-N"]
    {
        let pattern = |n: usize| form.replace('N', &format!("{n:05}")).parse::<ClaimPattern>().unwrap();
        let mut rules = OverlappingPatterns::default();
        (0..10_000).for_each(|n| rules.insert(&pattern(n), n));
        assert_eq!(rules.overlapping(&pattern(7_777), 512), Some(vec![7_777]), "{form}");
    }
}

#[test]
fn more_effort_than_is_allowed_finds_nothing() {
    let mut rules = OverlappingPatterns::default();
    (0..100).for_each(|n| rules.insert(&"refs/heads/main".parse().unwrap(), n));
    let main = "refs/heads/*".parse().unwrap();
    assert_eq!(rules.overlapping(&main, 64), None);
    assert_eq!(rules.overlapping(&main, 512).map(|found| found.len()), Some(100));
}

/// A hostile value meets patterns full of stars.
#[test]
fn a_value_that_fits_every_star_takes_no_time() {
    let mut set = ClaimPatterns::default();
    for n in 0..100 {
        set.insert(&format!("{}*b{n}", "*a".repeat(120)).parse().unwrap(), n);
        set.insert(&format!("{}*b{n}", "**a".repeat(7)).parse().unwrap(), n);
    }
    let begun = Instant::now();
    set.matching(&"a".repeat(16_000), |_: i32| unreachable!());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
