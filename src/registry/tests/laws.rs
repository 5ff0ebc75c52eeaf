//! What holds of every file, whatever somebody wrote into it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::registry::agent_file;

/// Replacements that make mistakes, some of which undo others.
fn edits() -> Vec<(String, String)> {
    let cases = include_str!("mistakes.txt").split("\n\n").skip(1);
    cases.map(|case| (mistakes::part(case, "-"), mistakes::part(case, "+"))).collect()
}

/// Whether nothing that `rules` holds dear is exceeded.
fn is_within(registry: &Registry, rules: &Rules) -> bool {
    let guardrails = &rules.guardrails;
    registry.agents().all(|agent| {
        let tiers = agent.permissions.iter().all(|permission| {
            let limit =
                |action| guardrails.tier(action, permission.environment.as_deref(), &permission.patterns);
            permission.free.iter().all(|action| limit(action) == Tier::Free)
                && permission.gated.iter().all(|action| limit(action) != Tier::Forbidden)
        });
        tiers
            && agent.max_ttl.is_none_or(|ttl| ttl <= guardrails.max_ttl)
            && !agent.identities.is_empty()
            && !agent.permissions.is_empty()
    })
}

fn load(text: &str) -> Result<Registry, Vec<Diagnostic>> {
    let dir = folder(&[("a.toml", text)]);
    rules().load(dir.path())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_loads_is_within_the_guardrails(picks in vec(any::<Index>(), 0..4)) {
        let edits = edits();
        let mut text = GOOD.to_owned();
        for pick in picks {
            let (from, to) = pick.get(&edits);
            text = text.replacen(from.as_str(), to, 1);
        }
        match load(&text) {
            Ok(registry) => prop_assert!(is_within(&registry, &rules())),
            Err(mistakes) => {
                prop_assert!(mistakes.is_sorted());
                let lines = text.lines().count();
                for mistake in mistakes {
                    prop_assert!(mistake.line.is_some_and(|line| (1..=lines).contains(&line)), "{mistake}");
                    prop_assert!(!mistake.problem.is_empty() && !mistake.remedy.is_empty());
                }
            }
        }
    }

    #[test]
    fn no_text_is_too_strange_to_read(
        at in any::<Index>(),
        length in 0..40_usize,
        noise in "[\\PC\n\"\\[\\]{}=*.#]{0,12}",
    ) {
        let chars: Vec<char> = GOOD.chars().collect();
        let from = at.index(chars.len());
        let to = (from + length).min(chars.len());
        let text: String = chars[..from].iter().copied().chain(noise.chars()).chain(chars[to..].iter().copied()).collect();
        if let Ok(registry) = load(&text) {
            prop_assert!(is_within(&registry, &rules()));
        }
    }
}

#[test]
fn production_is_ruled_by_its_guardrail() {
    let text = GOOD.replace("\"staging\"", "\"production\"").replace("free  = [\"GET\"]\ngated", "gated");
    let judged = |production, text: &str| {
        let mut rules = rules();
        rules.guardrails.production = production;
        let dir = folder(&[("a.toml", text)]);
        rules.load(dir.path()).map(drop).map_err(|mistakes| lines(dir.path(), &mistakes))
    };
    assert_eq!(judged(Tier::Gated, &text), Ok(()));
    let free = text.replace("gated = [\"POST\"]", "free = [\"POST\"]");
    assert_eq!(judged(Tier::Free, &free), Ok(()));
    assert_eq!(
        judged(Tier::Gated, &free).unwrap_err(),
        [
            "a.toml:21: endpoint[0].free[0]: guardrails.production gates every action in production, `POST` too; move it to gated"
        ]
    );
    assert_eq!(
        judged(Tier::Forbidden, &text).unwrap_err(),
        [
            "a.toml:21: endpoint[0].gated[0]: guardrails.production forbids every action in production; take it out"
        ]
    );
}

#[test]
fn a_file_saved_by_another_system_is_read_the_same() {
    assert!(load(&GOOD.replace('\n', "\r\n")).is_ok());
    assert!(load(&format!("\u{feff}{GOOD}")).is_ok());
    let told = load(&GOOD.replace("owner   =", "ownr =").replace('\n', "\r\n")).unwrap_err();
    assert_eq!(told[1].line, Some(2), "{told:?}");
}

#[test]
fn a_file_of_nothing_but_slips_is_told_briefly() {
    let told = load(&"=\n".repeat(20_000)).unwrap_err();
    assert!((1..=20).contains(&told.len()), "{}", told.len());
    let told = load(&format!("a = {}", "[".repeat(100_000))).unwrap_err();
    assert!((1..=20).contains(&told.len()), "{}", told.len());
}

#[test]
fn every_key_of_an_agent_file_is_documented() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let manual = fs::read_to_string(manual).unwrap();
    let text = format!("{GOOD}[[identity]]\nkey = {{ kty = \"EC\" }}\n");
    let mistakes = Mistakes::default();
    let document = Document::parse(Path::new("a.toml"), &text, &mistakes);
    agent_file::read(&document, Some(id("a")), &rules(), &mistakes);
    let known = document.known();
    assert!(known.len() > 20, "{known:?}");
    for key in &known {
        assert!(manual.contains(&format!("| `{key}` |")), "docs/CONFIGURATION.md does not have {key}");
    }
}

#[test]
fn mistakes_are_the_same_whichever_file_was_written_first() {
    let (a, b) = (GOOD.replace("10m", "2h"), good(1).replace("team-a", ""));
    assert_eq!(told(&[("a.toml", &a), ("b.toml", &b)]), told(&[("b.toml", &b), ("a.toml", &a)]));
}
