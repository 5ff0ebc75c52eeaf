//! The rules name the code that they stand for, and that code is there.

use std::fs;
use std::path::{Path, PathBuf};

fn texts(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "lua") {
            found.push(fs::read_to_string(path).expect("a text"));
        }
    }
}

/// What stands between backticks in comments.
fn names(text: &str) -> Vec<&str> {
    let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
    comments.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The paths, with `{a,b}` written out.
fn paths(name: &str) -> Vec<String> {
    match (name.split_once('{'), name.split_once('}')) {
        (Some((start, _)), Some((middle, end))) => {
            let choices = &middle[start.len() + 1..];
            choices.split(',').map(|choice| format!("{start}{choice}{end}")).collect()
        }
        _ => vec![name.to_owned()],
    }
}

#[test]
fn every_rule_names_code_that_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (mut rules, mut source) = (Vec::new(), Vec::new());
    texts(&root.join("tests/model/rules"), &mut rules);
    texts(&root.join("src"), &mut source);
    let (mut named, mut missing) = (0, Vec::new());
    for name in rules.iter().flat_map(|text| names(text)) {
        // Several nodes on one store come with it.
        if name == "src/store/postgres/" {
            continue;
        }
        let is_there = if name.starts_with("src/") {
            paths(name).iter().all(|path| root.join(path).exists())
        } else if let Some((_, function)) = name.rsplit_once("::") {
            // A function is called by its name in small letters; a type or one of its variants is not.
            let is_function = function.starts_with(char::is_lowercase);
            let wanted = if is_function { format!("fn {function}") } else { function.to_owned() };
            source.iter().any(|text| text.contains(&wanted))
        } else {
            continue;
        };
        named += 1;
        if !is_there {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named > 40, "{named}");
}
