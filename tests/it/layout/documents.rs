//! Documents say what is in the code: every reason code, and files that exist.

use std::collections::BTreeSet;

use hallpass::domain::reason::{OAuthError, Reason};

use super::syntax::is_name;
use super::{nothing_found, read, root};

/// `| code | error | status |` of every row whose first cell is code.
fn rows(document: &str) -> Vec<[String; 3]> {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let table = document.lines().filter_map(|line| line.strip_prefix("| `"));
    table
        .map(|line| {
            let mut cells = line.split('|').map(cell);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        })
        .collect()
}

fn status(reason: Reason) -> &'static str {
    match reason.error() {
        OAuthError::InvalidClient => "401",
        OAuthError::SlowDown => "429",
        OAuthError::TemporarilyUnavailable => "503",
        OAuthError::ServerError => "500",
        _ if reason == Reason::TooLarge => "413",
        _ if reason == Reason::HeadTooLarge => "431",
        _ if reason == Reason::PathUnknown => "404",
        _ if reason == Reason::MethodNotAllowed => "405",
        _ => "400",
    }
}

#[test]
fn every_reason_code_is_documented_and_no_other() {
    let written = rows(&read("docs/ERRORS.md"));
    let mut wrong = Vec::new();
    for reason in Reason::ALL {
        let due = [reason.as_str(), reason.error().as_str(), status(*reason)].map(str::to_owned);
        let found: Vec<_> = written.iter().filter(|row| row[0] == due[0]).collect();
        if found != [&due] {
            wrong.push(format!("docs/ERRORS.md: {due:?} must have one row; found {found:?}"));
        }
    }
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let unknown = written.iter().filter(|row| !known.contains(row[0].as_str()));
    wrong.extend(unknown.map(|row| format!("docs/ERRORS.md: {} is no reason code", row[0])));
    nothing_found(&wrong);
}

/// The paths in back quotes that `document` names and that `exists` says are not there.
fn missing_paths(document: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| {
        let plain = text.chars().all(|c| is_name(c) || "./-".contains(c));
        plain && !text.starts_with('/') && (text.ends_with(".rs") || text.ends_with('/'))
    });
    paths.filter(|path| !exists(path)).map(str::to_owned).collect()
}

#[test]
fn the_architecture_names_files_that_exist() {
    let exists = |path: &str| root().join(path).exists() || root().join("src").join(path).exists();
    let sample = "see `store/gone.rs`, `src/main.rs`, `domain/`, `/etc/x/`, `cargo test`, `nowhere/`";
    assert_eq!(missing_paths(sample, exists), ["store/gone.rs", "nowhere/"]);
    nothing_found(&missing_paths(&read("docs/ARCHITECTURE.md"), exists));
}
