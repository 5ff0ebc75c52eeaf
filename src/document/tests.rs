use std::time::Duration;

use super::*;

fn told(text: &str, read: impl FnOnce(&Table<'_>)) -> Vec<String> {
    let mistakes = Mistakes::default();
    let document = Document::parse(Path::new("f.toml"), text, &mistakes);
    read(&document.root(&mistakes));
    mistakes.into_sorted().iter().map(ToString::to_string).collect()
}

#[test]
fn a_mistake_stands_where_its_key_stands() {
    let text = "a = 1\n\n[deep]\nb = 'x'\n\n[[list]]\nc = ['u',\n  'v',\n  3]\n[[list]]\n";
    let lines = told(text, |root| {
        root.key("a", "\"text\"").text();
        root.section("deep").key("b", "7").number();
        for table in root.list_of_tables("list") {
            table.key("c", "[\"u\"]").required().list::<String>();
        }
    });
    assert_eq!(
        lines,
        [
            "f.toml:1: a: must be a string, not a whole number; write a = \"text\"",
            "f.toml:4: deep.b: must be a whole number, not a string; write b = 7",
            "f.toml:9: list[0].c[2]: must be a string, not a whole number; write c = [\"u\"]",
            "f.toml:10: list[1].c: is missing; write c = [\"u\"]",
        ]
    );
}

#[test]
fn a_key_that_nobody_asked_for_is_unknown() {
    let lines = told("urll = 'x'\n[table]\nother = 1\n", |root| {
        root.key("url", "\"https://…\"").text();
    });
    assert_eq!(
        lines,
        ["f.toml:1: urll: unknown key; did you mean `url`?", "f.toml:2: table: unknown key; known here: url"]
    );
}

#[test]
fn syntax_is_told_with_its_line_and_a_duplicate_key_by_name_of_the_fault() {
    let lines = told("a = 1\nb = \nc = 3\n", |root| {
        for key in ["a", "b", "c"] {
            root.key(key, "1");
        }
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("f.toml:2: not TOML: "), "{lines:?}");

    let lines = told("a = 1\na = 2\n", |root| drop(root.key("a", "1").number()));
    assert_eq!(lines, ["f.toml:2: this key was already written above; keep one of the two"]);
}

#[test]
fn a_variable_overrides_a_scalar_and_is_named_in_its_mistake() {
    let mistakes = Mistakes::default();
    let variables = [("HALLPASS_TOKEN__TTL", "5m"), ("HALLPASS_LIMITS__N", "many")];
    let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let document =
        Document::parse(Path::new("f.toml"), "[token]\nttl = '10m'\n", &mistakes).with_environment(variables);
    let range = Duration::ZERO..=Duration::from_secs(600);
    let root = document.root(&mistakes);
    let ttl = root.section("token").key("ttl", "\"10m\"").duration(range).unwrap();
    assert_eq!(ttl.value, Duration::from_secs(300));
    assert!(ttl.place.is_environment());
    root.section("limits").key("n", "60").number();
    drop(root);
    let known: Vec<String> = document.known_variables().into_iter().collect();
    assert_eq!(known, ["HALLPASS_LIMITS__N", "HALLPASS_TOKEN__TTL"]);
    let told: Vec<String> = mistakes.into_sorted().iter().map(ToString::to_string).collect();
    let expected = "environment: HALLPASS_LIMITS__N: \"many\" is not a whole number from 0 to 4294967295; set HALLPASS_LIMITS__N=60";
    assert_eq!(told, [expected]);
}

#[test]
fn a_text_without_quotes_is_told_with_what_to_write() {
    // What stands there instead is told, too, where anybody asks for it.
    let told = |text: &str| told(text, |root| drop(root.key("a", "\"x\"")));
    for (text, line) in [
        ("a = no # so\n", "f.toml:1: not TOML: no stands without quotes; write a = \"no\""),
        (
            "a = /etc/x.pem\n",
            "f.toml:1: not TOML: /etc/x.pem stands without quotes; write a = \"/etc/x.pem\"",
        ),
        ("a = hpo_canary\n", "f.toml:1: not TOML: the value stands without quotes; write a = \"…\""),
    ] {
        assert_eq!(told(text), [line], "{text}");
    }
    for text in ["a = \"x\n", "a = [x\n", "a\n", "a = 1x\n"] {
        let lines = told(text);
        assert!(
            lines.iter().all(|line| line.contains("https://toml.io") || line.contains("missing")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_slip_in_one_of_a_few_words_finds_the_word() {
    struct Tier;
    impl std::str::FromStr for Tier {
        type Err = &'static str;
        fn from_str(_: &str) -> Result<Self, Self::Err> {
            Err("is not one of free, gated and forbidden")
        }
    }
    let told =
        |word: &str| told(&format!("a = '{word}'\n"), |root| drop(root.key("a", "\"free\"").parse::<Tier>()));
    assert_eq!(
        told("gaeted"),
        ["f.toml:1: a: \"gaeted\" is not one of free, gated and forbidden; did you mean \"gated\"?"]
    );
    assert_eq!(
        told("no"),
        ["f.toml:1: a: \"no\" is not one of free, gated and forbidden; write a = \"free\""]
    );
}
