//! The variables that commands read beside the configuration.

use crate::cli::{Failure, Host, Outcome};
use crate::config::COMMAND_LINE_VARIABLES;
use crate::document::flaw;

/// Those that hold a secret. Each is read without the white space around it.
const SECRET: &[&str] = &["HALLPASS_TOKEN", "HALLPASS_IDENTITY_TOKEN"];

/// # Errors
/// When one has white space around it or a control character in it, as a line end of Windows: a path would name another
/// file.
pub(super) fn check(host: &Host<'_>) -> Outcome {
    for name in COMMAND_LINE_VARIABLES.iter().filter(|name| !SECRET.contains(name)) {
        let value = (host.env)(name).unwrap_or_default();
        if let Some(problem) = flaw(&value.to_string_lossy()) {
            return Err(Failure::usage(format!("{name} {problem}")).remedy("take it out"));
        }
    }
    Ok(())
}
