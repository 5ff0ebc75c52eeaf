//! What holds for every file: it is short enough to read, and names no path of one machine.

use std::fs;

use super::syntax::is_name;
use super::{files, nothing_found, root, sources};

const LONGEST_FILE: usize = 400;

#[test]
fn files_stay_short_enough_to_read() {
    let long = sources().into_iter().filter_map(|(file, text)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines, {LONGEST_FILE} at most", file.display()))
    });
    nothing_found(&long.collect::<Vec<_>>());
}

/// The lines of `text` with an absolute path of somebody's own machine.
fn machine_paths(text: &str) -> Vec<usize> {
    let starts = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let starts_a_path = |line: &str| {
        starts.iter().any(|start| {
            line.match_indices(start.as_str())
                .any(|(at, _)| !line[..at].ends_with(|c: char| is_name(c) || "./-}*~".contains(c)))
        })
    };
    let numbered = text.lines().enumerate();
    numbered.filter(|(_, line)| starts_a_path(line)).map(|(index, _)| index + 1).collect()
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    for bad in ["home/me/hallpass", "root/.cargo", "work/x"] {
        assert_eq!(machine_paths(&format!("ok\nkey = \"/{bad}\"")), [2], "{bad}");
    }
    for good in ["/run/secrets/redis_password", "https://ledger.example/home/", "src/work/x", "~/home/x"] {
        assert!(machine_paths(good).is_empty(), "{good}");
    }
    let mut found = Vec::new();
    for file in files("") {
        let bytes = fs::read(root().join(&file)).expect("a readable file");
        for line in machine_paths(&String::from_utf8_lossy(&bytes)) {
            found.push(format!("{}:{line}: a path of one machine", file.display()));
        }
    }
    nothing_found(&found);
}
