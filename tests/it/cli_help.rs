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

/// A heading says what its flags are about; what is about none of these stands under the general options.
#[test]
fn each_flag_stands_under_its_own_heading() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|argument| argument.get_help_heading().is_some()) {
            let flags: &[&str] = match argument.get_help_heading().unwrap() {
                "Binding" => &["dpop-key"],
                "Broker" => &["url", "admin-url", "key-file"],
                "Source" => &["config", "admin-url"],
                "Proof of identity" => &[
                    "identity-token-file",
                    "key-file",
                    "agent",
                    "svid-file",
                    "svid-key-file",
                    "spiffe-socket",
                    "spiffe-id",
                    "x509-svid",
                    "audience",
                ],
                other => panic!("{other}: say here what belongs under it"),
            };
            let flag = argument.get_long().unwrap_or_default();
            let (name, heading) = (command.get_name(), argument.get_help_heading().unwrap());
            assert!(flags.contains(&flag), "{name}: --{flag} stands under «{heading}»");
        }
        command.get_subcommands().for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
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
