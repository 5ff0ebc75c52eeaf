use proptest::prelude::*;

use super::syntax::MAX_LEN;
use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn claim(text: &str) -> ClaimPattern {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn refused_patterns() {
    use InvalidPattern::*;
    let long = "a".repeat(MAX_LEN + 1);
    for (text, expected) in [
        ("", Length),
        (long.as_str(), Length),
        ("refs/heads/***", Stars),
        ("/v1/**/entries", DoubleStar),
        ("/v1/a**", DoubleStar),
        ("**/a", DoubleStar),
        ("/v1//entries", Segment),
        ("refs/heads/", Segment),
        ("//", Segment),
        ("/v1/./entries", Segment),
        ("/v1/../admin", Segment),
        ("..", Segment),
        ("/v1/a b", Control),
        ("/v1/a\n", Control),
        ("/v1/\u{7f}", Control),
        ("/v1/\u{a0}", Control),
        ("/v1/%2e%2e/admin", Character),
        ("/v1\\admin", Character),
        ("/v1;x=1", Character),
        ("/v1?x=1", Character),
        ("/v1#x", Character),
    ] {
        assert_eq!(text.parse::<Pattern>(), Err(expected), "{text:?}");
    }
    for (text, expected) in [("", Length), ("a***", Stars), ("a\0", Control), ("a\n", Control)] {
        assert_eq!(text.parse::<ClaimPattern>(), Err(expected), "{text:?}");
    }
}

#[test]
fn accepted_patterns() {
    for text in ["/", "/v1/", "/**", "**", "*", "refs/heads/agent/*", "refs/heads/v*.x", "/v1/*/entries/**"] {
        assert_eq!(pattern(text).to_string(), text);
    }
}

#[test]
fn anchored_at_both_ends() {
    for (glob, yes, no) in [
        ("/v1/entries", &["/v1/entries"][..], &["/v1/entries/", "/v1/entriesX", "X/v1/entries", ""][..]),
        (
            "/v1/entries/**",
            &["/v1/entries/", "/v1/entries/1", "/v1/entries/1/2"],
            &["/v1/entries", "/v1/entriesX/1", "/V1/entries/1", "x/v1/entries/1"],
        ),
        (
            "refs/heads/agent/*",
            &["refs/heads/agent/fix", "refs/heads/agent/a-b.c"],
            &["refs/heads/agent/fix/deep", "refs/heads/agent", "refs/heads/agents/fix", "refs/tags/agent/x"],
        ),
        ("/a*b/c", &["/ab/c", "/axxb/c"], &["/a/b/c", "/ab/c/", "/axb/cc"]),
        ("/**", &["/", "/a", "/a/b"], &["", "a"]),
    ] {
        for text in yes {
            assert!(pattern(glob).matches(text), "{glob} matches {text}");
        }
        for text in no {
            assert!(!pattern(glob).matches(text), "{glob} does not match {text}");
        }
    }
}

/// What a regular expression would read as alternation, a group or an anchor is itself and no more.
#[test]
fn no_regular_expression() {
    for text in ["a|b", "a)|(?:b", "(?:a)", "^a$", "a.c", "[ab]", "a+", "{a,b}", "$"] {
        let claim = claim(text);
        assert!(claim.matches(text) && claim.is_exact());
        for other in ["a", "b", "abc", "aa", "", "c"] {
            assert!(!claim.matches(other), "{text} does not match {other}");
        }
    }
    assert!(!pattern("refs/heads/a|refs/heads/b").matches("refs/heads/b"));
    assert!(!pattern("refs/heads/a.c").matches("refs/heads/abc"));
}

#[test]
fn a_claims_star_stays_within_its_segment() {
    let rule = claim("repo:acme@77/*:ref:refs/heads/main");
    assert!(rule.matches("repo:acme@77/payments@4:ref:refs/heads/main"));
    assert!(!rule.matches("repo:acme@77/payments@4:pull_request:ref:refs/heads/main"), "across :");
    assert!(!rule.matches("repo:acme@77/x/y:ref:refs/heads/main"), "across /");
    assert!(claim("repo:acme@77/**").matches("repo:acme@77/x:ref:refs/heads/y"));
    // Metacharacters in a caller's value are characters.
    assert!(!claim("acme").matches("*") && !claim("acme").matches("**"));
}

#[test]
fn a_rule_that_says_nothing_is_known() {
    for text in ["*", "**", "*:*", "*/**", ":", "**:**"] {
        assert!(claim(text).is_everything(), "{text}");
    }
    for text in ["a*", "*:ref:*", "repo:**", "x"] {
        assert!(!claim(text).is_everything(), "{text}");
    }
}

/// A glob in a small world, so that matches, overlaps and coverings are common.
fn glob_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("/"), 1 => Just(":"), 3 => Just("*"), 1 => Just("**")];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn pattern_of_few_letters() -> impl Strategy<Value = Pattern> {
    glob_text().prop_filter_map("no pattern", |text| text.parse().ok())
}

fn claim_of_few_letters() -> impl Strategy<Value = ClaimPattern> {
    glob_text().prop_filter_map("no pattern", |text| text.parse().ok())
}

/// Every text of up to `len` characters over the letters of the small world and one that is in no glob.
fn texts(len: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..len {
        longest = longest
            .iter()
            .flat_map(|text| ['a', 'b', '/', ':', 'z'].map(|letter| format!("{text}{letter}")))
            .collect();
        all.extend_from_slice(&longest);
    }
    all
}

/// Inclusion as an automaton decides it, state by state: its time is the product of both lengths.
fn plainly_covers(wide: &str, narrow: &str, separators: &[char]) -> bool {
    use automaton::Piece;
    let wide = Piece::of(wide);
    let skip_stars = |live: &mut Vec<bool>| {
        for (i, piece) in wide.iter().enumerate() {
            live[i + 1] |= live[i] && !matches!(piece, Piece::Char(_));
        }
    };
    let mut live = vec![false; wide.len() + 1];
    live[0] = true;
    skip_stars(&mut live);
    for symbol in Piece::of(narrow) {
        let mut next = vec![false; wide.len() + 1];
        for (i, piece) in wide.iter().enumerate().filter(|(i, _)| live[*i]) {
            match (piece, symbol) {
                (Piece::DoubleStar, _) | (Piece::Star, Piece::Star) => next[i] = true,
                (Piece::Star, Piece::Char(c)) => next[i] |= !separators.contains(&c),
                (Piece::Char(a), Piece::Char(b)) => next[i + 1] |= *a == b,
                (_, Piece::DoubleStar) | (Piece::Char(_), Piece::Star) => {}
            }
        }
        skip_stars(&mut next);
        live = next;
    }
    live[wide.len()]
}

/// Matching by its definition: try every run that a star could stand for.
fn matches_by_definition(glob: &str, text: &str, separators: &[char]) -> bool {
    let runs = |rest: &str, crossing: bool| {
        let ends = (0..=text.len()).filter(|&end| text.is_char_boundary(end));
        ends.take_while(|&end| crossing || !text[..end].contains(separators))
            .any(|end| matches_by_definition(rest, &text[end..], separators))
    };
    if let Some(rest) = glob.strip_prefix("**") {
        runs(rest, true)
    } else if let Some(rest) = glob.strip_prefix('*') {
        runs(rest, false)
    } else {
        match (glob.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => {
                matches_by_definition(&glob[a.len_utf8()..], &text[b.len_utf8()..], separators)
            }
            _ => false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn matching_is_its_definition(path in pattern_of_few_letters(), rule in claim_of_few_letters()) {
        for text in texts(4) {
            prop_assert_eq!(path.matches(&text), matches_by_definition(path.as_str(), &text, &['/']), "{} {}", path, text);
            prop_assert_eq!(rule.matches(&text), matches_by_definition(rule.as_str(), &text, &[':', '/']), "{} {}", rule, text);
        }
    }

    /// Against the automaton that both kinds of pattern were compared with before: linear time changed no answer.
    #[test]
    fn comparing_is_what_the_plain_automaton_says(
        a in pattern_of_few_letters(), b in pattern_of_few_letters(),
        c in claim_of_few_letters(), d in claim_of_few_letters(),
    ) {
        prop_assert_eq!(a.covers(&b), plainly_covers(a.as_str(), b.as_str(), &['/']), "{} {}", a, b);
        prop_assert_eq!(c.covers(&d), plainly_covers(c.as_str(), d.as_str(), &[':', '/']), "{} {}", c, d);
    }

    /// Rules of more than 64 pieces, whose states are in several words.
    #[test]
    fn long_rules_compare_as_the_plain_automaton_says(
        pieces in prop::collection::vec(prop::sample::select(&["a", "b", "ab", "*", "/", ":", "**a"][..]), 60..150),
        cut in 0..60usize, fill in "[ab:/]{0,3}",
    ) {
        let text = pieces.concat().replace("***", "**");
        let texts = [text.replace('*', &fill), text.replacen('*', "x", 2), text[cut..].to_owned()];
        if let Ok(rule) = text.parse::<ClaimPattern>() {
            for text in texts.iter().filter(|text| !text.contains('*')) {
                prop_assert_eq!(rule.matches(text), plainly_covers(rule.as_str(), text, &[':', '/']), "{} {}", rule, text);
            }
            if let Ok(other) = texts[1].parse::<ClaimPattern>() {
                prop_assert_eq!(rule.covers(&other), plainly_covers(rule.as_str(), other.as_str(), &[':', '/']));
            }
        }
    }

    #[test]
    fn what_is_covered_is_included(
        a in pattern_of_few_letters(), b in pattern_of_few_letters(),
        c in claim_of_few_letters(), d in claim_of_few_letters(),
    ) {
        for text in texts(4) {
            prop_assert!(!a.covers(&b) || !b.matches(&text) || a.matches(&text), "{} {} {}", a, b, text);
            prop_assert!(!c.covers(&d) || !d.matches(&text) || c.matches(&text), "{} {} {}", c, d, text);
        }
    }

    /// Both ways: the shortest text that both match has no more characters than both globs together.
    #[test]
    fn overlap_has_a_witness(a in glob_text(), b in glob_text()) {
        let letters = |glob: &str| glob.replace('*', "").len();
        prop_assume!(letters(&a) + letters(&b) <= 5);
        let texts = texts(5);
        if let (Ok(a), Ok(b)) = (a.parse::<Pattern>(), b.parse::<Pattern>()) {
            let witness = texts.iter().find(|text| a.matches(text) && b.matches(text));
            prop_assert_eq!(a.overlaps(&b), witness.is_some(), "{} {} {:?}", a, b, witness);
        }
        if let (Ok(a), Ok(b)) = (a.parse::<ClaimPattern>(), b.parse::<ClaimPattern>()) {
            let witness = texts.iter().find(|text| a.matches(text) && b.matches(text));
            prop_assert_eq!(a.overlaps(&b), witness.is_some(), "{} {} {:?}", a, b, witness);
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
        }
    }

    #[test]
    fn covering_is_reflexive_and_transitive(
        a in claim_of_few_letters(), b in claim_of_few_letters(), c in claim_of_few_letters(),
    ) {
        prop_assert!(a.covers(&a));
        prop_assert!(!a.covers(&b) || !b.covers(&c) || a.covers(&c));
        prop_assert!(!a.covers(&b) || a.overlaps(&b), "what is covered overlaps");
    }

    #[test]
    fn prints_as_it_parses(path in pattern_of_few_letters(), rule in claim_of_few_letters()) {
        prop_assert_eq!(path.to_string().parse::<Pattern>(), Ok(path.clone()));
        prop_assert_eq!(rule.to_string().parse::<ClaimPattern>(), Ok(rule.clone()));
        let json = serde_json::to_string(&path).unwrap();
        prop_assert_eq!(serde_json::from_str::<Pattern>(&json).unwrap(), path);
    }

    /// Nothing that a caller sends makes matching panic, and a literal matches itself alone.
    #[test]
    fn any_text_is_safe(text in "\\PC{1,40}", other in "\\PC{0,40}") {
        if let Ok(rule) = text.parse::<ClaimPattern>() {
            prop_assert!(rule.matches(&text));
            prop_assert!(!rule.is_exact() || rule.matches(&other) == (text == other));
        }
    }
}

/// The longest patterns that are hardest to compare: stars and near misses all the way.
fn hostile() -> Vec<Pattern> {
    let fill = |unit: &str, end: &str| format!("{}{end}", unit.repeat((MAX_LEN - end.len()) / unit.len()));
    ["*a", "a*", "aa*", "*aaaaaaab", "a", "*ab*ba", "/a*a"]
        .iter()
        .flat_map(|unit| [fill(unit, ""), fill(unit, "b"), fill(unit, "/c"), fill(unit, "/**")])
        .map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect()
}

/// Every pair of them, a thousand comparisons of each kind in all: an automaton takes 262,144 steps for one, and a
/// backtracking matcher never ends. The bound is many times what it takes on a slow machine in a debug build.
#[test]
fn hostile_patterns_are_compared_in_linear_time() {
    let hostile = hostile();
    let begun = std::time::Instant::now();
    let (mut covered, mut overlapping, mut matched, mut pairs) = (0, 0, 0, 0);
    for a in &hostile {
        for b in &hostile {
            covered += usize::from(a.covers(b));
            overlapping += usize::from(a.overlaps(b));
            matched += usize::from(a.matches(&b.as_str().replace('*', "a")));
            pairs += 1;
        }
    }
    let took = begun.elapsed();
    assert!(pairs > 700 && covered >= hostile.len() && overlapping > covered && matched > 0);
    assert!(took.as_millis() < 250, "{took:?} for {pairs} pairs");
}

/// A caller's claim has up to 16 KiB: a step for each of its characters and 64 pieces of the rule.
#[test]
fn a_hostile_claim_is_read_in_linear_time() {
    let rule = claim(&"*a".repeat(MAX_LEN / 2 - 1));
    let value = "a".repeat(16 * 1024);
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert!(rule.matches(&value) && !rule.matches(&format!("{value}b")));
    }
    let took = begun.elapsed();
    assert!(took.as_millis() < 1500, "{took:?} for 40 claims of 16 KiB");
}
