//! Each rule by itself, from `cases.txt`, through the reader of agent files.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::domain::guardrails::Guardrails;
use crate::domain::permission::Tier;
use crate::domain::platform::Platform;
use crate::registry::Rules;

const REST: &str = "[[repository]]\nname = 'code'\nurl = 'https://code.test/code'\nfree = ['read']\n";

/// What is told of an agent with one rule, as it is printed.
fn told(platform: Platform, claims: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("purpose = 'p'\nowner = 'o'\n[[identity]]\nissuer = 'ci'\nclaims = {claims}\n{REST}");
    fs::write(dir.path().join("a.toml"), text).unwrap();
    let guardrails = Guardrails {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(900),
        protected_refs: Vec::new(),
        always_gated: Default::default(),
        never: Default::default(),
        production: Tier::Gated,
        max_delegation_depth: 3,
    };
    let issuers = BTreeMap::from([("ci".parse().unwrap(), platform)]);
    let rules = Rules {
        guardrails,
        issuers: Some(issuers),
        trust_domains: Some(Vec::new()),
        tokens_per_minute: None,
    };
    let lines: Vec<String> = match rules.load(dir.path()) {
        Ok(registry) => registry.warnings().iter().map(ToString::to_string).collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    };
    let prefix = format!("{}/", dir.path().display());
    lines.into_iter().map(|line| line.replace(&prefix, "")).collect()
}

#[test]
fn each_rule_is_safe_or_told_with_what_to_write_instead() {
    let cases: Vec<&str> = include_str!("cases.txt").split("\n\n").skip(1).collect();
    assert!(cases.len() >= 90, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let mut lines = case.trim_end().lines();
        let rule = lines.next().and_then(|line| line.strip_prefix("= ")).unwrap_or_else(|| panic!("{case}"));
        let (platform, claims) = rule.split_once(' ').unwrap();
        let expected: Vec<&str> = lines.map(|line| line.strip_prefix("! ").unwrap()).collect();
        let told = told(platform.parse().unwrap(), claims);
        if told != expected {
            let told: String = told.iter().map(|line| format!("! {line}\n")).collect();
            wrong.push(format!("= {rule}\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "told otherwise:\n\n{}", wrong.join("\n"));
}
