//! Each mistake by itself, from `mistakes.txt`.

use super::*;

/// The lines of a case that begin with `sign`.
fn part(case: &str, sign: &str) -> String {
    let lines = case.lines().filter_map(|line| line.strip_prefix(sign)?.strip_prefix(' '));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_mistake_is_told_with_its_line_and_remedy() {
    let cases: Vec<&str> = include_str!("mistakes.txt").split("\n\n").skip(1).collect();
    assert!(cases.len() >= 90, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let mut text = part(case, "+").replace("KEY_A", KEY_A) + "\n";
        if !text.contains("[admin]") {
            text.push_str(OPERATOR);
        }
        let (dir, file) = folder(&text);
        fs::write(dir.path().join("kek"), "4b".repeat(32)).unwrap();
        let told = Config::load(&file, []).err().unwrap_or_default();
        let told = lines(&dir, &told).join("\n");
        if told != part(case, "!") || told.is_empty() {
            wrong.push(format!("{case}\nwas told as:\n{told}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
