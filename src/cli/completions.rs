//! `hallpass completions`: the shell's own way of knowing the commands.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell to complete in
    shell: Shell,
}

/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs, host: &mut Host<'_>) -> Outcome {
    // To memory first: the generator panics where its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hallpass", &mut script);
    Ok(host.out.write_all(&script)?)
}
