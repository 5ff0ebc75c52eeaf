//! Each mistake by itself, from `mistakes.txt`, and those that take two files.

use super::*;

/// The lines of a case that begin with `sign`.
pub(super) fn part(case: &str, sign: &str) -> String {
    let lines = case.lines().filter_map(|line| line.strip_prefix(sign)?.strip_prefix(' '));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_mistake_is_told_with_its_line_and_remedy() {
    let cases: Vec<&str> = include_str!("mistakes.txt").split("\n\n").skip(1).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let (mut from, to) = (part(case, "-"), part(case, "+"));
        if to.is_empty() {
            from.push('\n');
        }
        assert!(!from.trim().is_empty() && GOOD.contains(&from), "not in the good file: {from}");
        let told = told(&[("a.toml", &GOOD.replacen(&from, &to, 1))]).join("\n");
        if told != part(case, "!") || told.is_empty() {
            wrong.push(format!("{case}\nwas told as:\n{told}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn identities_that_two_agents_share_are_told_at_the_later_file() {
    let claims = |claims: &str| GOOD.replace(r#"{ repository_id = "1", ref = "refs/heads/main" }"#, claims);
    let wide = claims(r#"{ repository_id = "1" }"#);
    let told = |a: &str, b: &str| told(&[("a.toml", a), ("b.toml", b)]);
    let remedy = "keep one, or tell them apart by a claim, such as `ref` or `job_workflow_ref`";
    let line = |how: &str| [format!("b.toml:5: identity[0]: {how} identity[0] in a.toml:5; {remedy}")];
    assert_eq!(told(GOOD, GOOD), line("is the same rule as"));
    assert_eq!(told(GOOD, &wide), line("matches every workload that is matched by"));
    assert_eq!(told(&wide, GOOD), line("matches only workloads that are matched by"));
    let one = claims(r#"{ sub = "repo:acme/*:ref:refs/heads/main" }"#);
    let other = claims(r#"{ sub = "repo:acme/code:*:refs/heads/main" }"#);
    assert_eq!(told(&one, &other), line("can match the same workload as"));
    assert_eq!(told(GOOD, &GOOD.replace("\"github\"", "\"gitlab\"")), [""; 0]);
}
