//! What `--help` says, command by command: the command line is a contract.

use clap::CommandFactory;
use hallpass::cli::Cli;

/// Every command's long help at one width, the whole tree in the order of `hallpass --help`.
fn pages(command: &mut clap::Command, path: &str, pages: &mut Vec<(String, String)>) {
    let help = command.clone().term_width(100).bin_name(path).render_long_help();
    pages.push((path.to_owned(), help.to_string()));
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        self::pages(sub, &path, pages);
    }
}

#[test]
fn help_of_every_command_is_as_published() {
    let mut command = Cli::command();
    command.build();
    let mut all = Vec::new();
    pages(&mut command, "hallpass", &mut all);
    for (path, help) in all {
        insta::assert_snapshot!(path.replace(' ', "-"), help);
    }
}

/// Each command that does something shows itself in use.
#[test]
fn every_command_teaches_by_example() {
    let mut command = Cli::command();
    command.build();
    let mut all = Vec::new();
    pages(&mut command, "hallpass", &mut all);
    for (path, help) in all.iter().filter(|(_, help)| !help.contains("\nCommands:")) {
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        assert!(examples.contains(&format!("  {path}")), "{path} has no example of itself");
    }
}
