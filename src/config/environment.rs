//! The variables that are hallpass's own: overrides of the configuration, and options of its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::document::{ENVIRONMENT, Mistakes, nearest};
use crate::domain::diagnostic::Diagnostic;

const PREFIX: &str = "HALLPASS_";

/// Variables that the commands read themselves; none of them overrides a key.
pub const COMMAND_LINE_VARIABLES: &[&str] = &[
    "HALLPASS_URL",
    "HALLPASS_ADMIN_URL",
    "HALLPASS_OPERATOR_KEY_FILE",
    "HALLPASS_CONFIG",
    "HALLPASS_TOKEN_FILE",
    "HALLPASS_TOKEN",
    "HALLPASS_TOKEN_EXPIRES_AT",
    "HALLPASS_LOG",
    "HALLPASS_IDENTITY_TOKEN",
    "HALLPASS_IDENTITY_TOKEN_FILE",
    "HALLPASS_KEY_FILE",
    "HALLPASS_AGENT",
];

/// The variables that mean to override a key.
pub(super) fn ours(environment: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let is_ours = |name: &str| name.starts_with(PREFIX) && !COMMAND_LINE_VARIABLES.contains(&name);
    environment.into_iter().filter(|(name, _)| is_ours(name)).collect()
}

/// Tells of every variable that is set and that nothing reads: a typo must not weaken a limit in silence.
pub(super) fn report_unknown(set: &BTreeMap<String, String>, known: &BTreeSet<String>, mistakes: &Mistakes) {
    for variable in set.keys().filter(|variable| !known.contains(*variable)) {
        let candidates = known.iter().map(String::as_str).chain(COMMAND_LINE_VARIABLES.iter().copied());
        let remedy = match nearest(variable, candidates) {
            Some(near) => format!("did you mean {near}?"),
            None => "unset it; a key `b` of [a] is HALLPASS_A__B".to_owned(),
        };
        mistakes.push(Diagnostic {
            file: PathBuf::from(ENVIRONMENT),
            line: None,
            key: variable.clone(),
            problem: "no key answers to this variable".to_owned(),
            remedy,
        });
    }
}
