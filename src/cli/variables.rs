//! The variables that commands read beside the configuration.

use crate::cli::{Failure, Host, Outcome};
use crate::config::COMMAND_LINE_VARIABLES;
use crate::document::flaw;

/// Those that hold a secret. Each is read without the white space around it.
const SECRET: &[&str] = &["HALLPASS_TOKEN", "HALLPASS_IDENTITY_TOKEN"];

/// `command` and its subcommands without the variables that are empty, which is as good as not set: a script or CI system
/// passes what it does not know so.
pub(super) fn without_empty(command: clap::Command, host: &Host<'_>) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| {
        let value = name.to_str().and_then(|name| (host.env)(name));
        value.is_some_and(|value| value.is_empty())
    };
    let command = command.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
        true => arg.env(clap::builder::Resettable::Reset),
        false => arg,
    });
    command.mut_subcommands(|subcommand| without_empty(subcommand, host))
}

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
