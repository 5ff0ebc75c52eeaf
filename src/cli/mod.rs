//! The command line: one file a command family, each a thin client of a broker or a local tool.
//!
//! Promises: what was asked for goes to standard output and everything else to standard error;
//! exit codes are 0 done, 1 failed, 2 usage, 3 refused by the broker (`run` has its command's); text that came from elsewhere
//! cannot act on the terminal; a secret is printed only where it was asked for. `main` calls [`run`].

pub mod admin;
pub mod agents;
pub mod args;
pub mod audit;
pub mod backup;
pub mod broker_url;
pub mod certificate;
pub mod check;
pub mod client;
pub mod completions;
pub mod demo;
pub mod drill;
pub mod failure;
pub mod git_credential;
pub mod host;
pub mod init;
pub mod key_file;
pub mod keygen;
pub mod link;
pub mod listener;
pub mod man;
pub mod moment;
pub mod move_store;
pub mod operator;
pub mod problem;
pub mod ready;
mod redact;
pub mod revocations;
pub mod revoke;
pub mod run;
pub mod serve;
pub mod show;
pub mod status;
pub mod table;
pub mod target;
#[cfg(test)]
mod tests;
pub mod token;
mod variables;
pub mod whoami;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

pub use failure::{Exit, Failure, Outcome};
pub use host::Host;

/// The command line, as clap reads it.
#[derive(Debug, clap::Parser)]
#[command(
    name = "hallpass",
    version,
    about = "A short-lived credential broker for autonomous coding agents",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the broker.

Start here:
  hallpass demo
  hallpass init
  hallpass serve
  hallpass token --scope payments:read --format json
  hallpass revoke agent:payments-refactorer --reason \"pushes to the wrong branch\"
  hallpass audit search --since 1h"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The whole story in one run: embedded, nothing to install
    #[command(after_help = "\
Starts a broker and an OIDC issuer on ports of their own, in a temporary folder, and shows
a token issued, used, refused, killed, and the audit log that tells of it.

Examples:
  hallpass demo")]
    Demo(args::DemoArgs),
    /// Runs the broker until it is told to stop (SIGTERM, SIGINT, SIGQUIT)
    #[command(after_help = "\
Listens on server.listen for agents and on admin.listen for operators. Missing keys and folders are
made at the first start. HALLPASS_LOG=debug says more; every key of the configuration can be overridden
by the environment, such as HALLPASS_STORE__URL. SIGHUP has the configuration, certificates, keys and
agents read again; a change of the files is taken over by itself, too.

Examples:
  hallpass serve
  hallpass serve --config /etc/hallpass/hallpass.toml")]
    Serve(args::ServeArgs),
    /// Writes a configuration and a first agent, from flags or a few questions
    #[command(after_help = init::AFTER_HELP)]
    Init(init::InitArgs),
    /// Reads the configuration and the agent files, and prints every mistake
    #[command(after_help = "\
Works offline, for CI. Prints one line a mistake and exits 1:
  file:line: key: what is wrong; what to write
Without a mistake it prints what each agent may do and exits 0, and before that one line for each
rule that others may match too, which --deny-warnings makes a failure:
  file:line: key: warning: what is weak; what to write

Examples:
  hallpass check-config
  hallpass check-config --deny-warnings
  hallpass check-config --skip-files hallpass.toml
  hallpass check-config --config /etc/hallpass/hallpass.toml --json")]
    CheckConfig(args::CheckArgs),
    /// Proves this workload's identity and gets a token
    #[command(after_long_help = token::AFTER_HELP)]
    Token(token::TokenArgs),
    /// Says who this workload is, and what the broker lets it do
    #[command(after_long_help = whoami::AFTER_HELP)]
    Whoami(whoami::WhoamiArgs),
    /// Runs a command with a token that is kept fresh, and ends the token after
    #[command(after_long_help = run::AFTER_HELP)]
    Run(run::RunArgs),
    /// A credential helper of git: a token for exactly the repository git asks about
    #[command(after_long_help = git_credential::AFTER_HELP)]
    GitCredential(git_credential::GitCredentialArgs),
    /// Asks the broker whether it can issue tokens: exit code 0 if so, else 1
    #[command(after_help = "\
Examples:
  hallpass ready
  hallpass ready -v --url https://hallpass.acme.internal
  hallpass ready -v --key-file oncall.key")]
    Ready(ready::ReadyArgs),
    /// The installation at a glance: brokers, store, Redis, keys, and what is wrong
    #[command(after_help = "\
Prints what one broker sees, and what to do about each part that is degraded.
Exit code 0 if all is well, 1 if something is degraded or no token can be issued.

Examples:
  hallpass status
  hallpass status --json | jq -r '.degraded[].what'")]
    Status(status::StatusArgs),
    /// The registered agents
    #[command(subcommand, arg_required_else_help = true)]
    Agents(agents::AgentsCommand),
    /// Stops a token, an agent, a team's agents, an issuer's, or everything
    #[command(after_help = "\
No token is issued to the target from the moment this returns, and tokens issued before are dead.
Exit code 0 says that every enforcement point has confirmed it. With one missing the stop is in
effect, standard error names who did not confirm, and the exit code is 1.

Examples:
  hallpass revoke agent:payments-refactorer --reason \"pushes to the wrong branch\"
  hallpass revoke owner:team-payments --dry-run
  hallpass revoke token:01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11 --reason \"seen in a build log\"
  hallpass revoke - --reason \"seen in a build log\" < leaked-token.txt
  hallpass revoke everything --reason \"incident 4711\"")]
    Revoke(revoke::RevokeArgs),
    /// Ends a stop; tokens issued before it stay dead
    #[command(after_help = "\
Examples:
  hallpass revocations
  hallpass lift 01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11 --reason \"fixed in 4712\"")]
    Lift(revoke::LiftArgs),
    /// Rehearses the kill switch on a canary, and says how long everybody took
    #[command(after_help = "\
A canary without permissions gets a token and is stopped as any agent is. Every broker and every
enforcement point must confirm, and the broker must refuse the token; then the stop is lifted. No agent
of yours is touched. Exit code 0: it passed. Exit code 1: standard error names who was late.

Examples:
  hallpass drill
  hallpass drill --json | jq -r '.points[] | [.name, .confirmed_ms] | @tsv'")]
    Drill(drill::DrillArgs),
    /// What is stopped, since when, and why
    #[command(after_help = "\
Examples:
  hallpass revocations
  hallpass revocations --all --json | jq -r '.revocations[].target'")]
    Revocations(revocations::RevocationsArgs),
    /// The audit log
    #[command(subcommand, arg_required_else_help = true)]
    Audit(audit::AuditCommand),
    /// Makes a whole, checked copy of the store, while the broker serves too
    #[command(after_help = "\
Use this and not cp: what the broker writes is in a second file first, which cp leaves out.
The copy is one file (0600), and is verified before it gets its name. The key-encryption key is not
in it; keep that in another place.

Examples:
  hallpass backup
  hallpass backup --to /backup/hallpass-$(date +%F).db")]
    Backup(backup::BackupArgs),
    /// Puts a backup in the place of the store; the broker must not run
    #[command(after_help = "\
The backup is verified first. The audit log goes on from it with an event that says so, and every token
issued before is dead. With Redis, the broker takes over the stops made since the backup when it
starts; without it, stop again whomever you stopped since.

Examples:
  hallpass restore /backup/hallpass-2026-11-28.db
  hallpass restore --replace data/hallpass.db.backup-20261128T230000Z")]
    Restore(backup::RestoreArgs),
    /// Moves the store
    #[command(subcommand)]
    Store(move_store::StoreCommand),
    /// Makes a key pair by which an agent is registered
    #[command(after_help = "\
An Ed25519 key as PKCS#8 PEM. Where a workload has an identity of its own (a CI job, a pod), use
that instead: it leaves nothing to steal.

Examples:
  hallpass keygen --out agent.key >> config/agents/payments-refactorer.toml
  hallpass token --key-file agent.key --agent payments-refactorer --format json")]
    Keygen(keygen::KeygenArgs),
    /// Operators: who may stop agents and read the audit log
    #[command(subcommand, arg_required_else_help = true)]
    Operator(operator::OperatorCommand),
    /// Prints a completion script for your shell
    #[command(after_help = "\
Examples:
  hallpass completions bash > ~/.local/share/bash-completion/completions/hallpass
  hallpass completions zsh > ~/.zfunc/_hallpass
  hallpass completions fish > ~/.config/fish/completions/hallpass.fish")]
    Completions(completions::CompletionsArgs),
    /// Prints the manual page, or writes one for each command
    #[command(after_help = "\
Examples:
  hallpass man | man -l -
  hallpass man ~/.local/share/man/man1")]
    Man(man::ManArgs),
}

/// Runs one command line, the program's name first, and gives the process its exit code.
///
/// Not to be called on a thread of an event loop: commands that speak HTTP start their own.
pub fn run(args: impl IntoIterator<Item = OsString>, host: &mut Host<'_>) -> u8 {
    let parsed = variables::without_empty(Cli::command(), host)
        .try_get_matches_from(args)
        .and_then(|found| Cli::from_arg_matches(&found));
    let outcome = match parsed {
        Ok(cli) => variables::check(host)
            .and_then(|()| dispatch(cli.command, host))
            .and_then(|()| Ok(host.out.flush()?)),
        Err(error) => return say(&error, host),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            if failure.exit != Exit::Unread {
                // Nobody is left to tell where standard error cannot be written.
                let _ = write!(host.err, "{failure}");
            }
            failure.exit.code()
        }
    }
}

/// Help and version go to standard output, a wrong command line to standard error.
fn say(error: &clap::Error, host: &mut Host<'_>) -> u8 {
    // It repeats what it does not know, and that may be a token in the wrong place.
    let text = match error.use_stderr() {
        true => {
            let text = redact::redacted(&error.render().to_string());
            text.lines().map(|line| format!("{}\n", show::safe(line))).collect()
        }
        false => error.render().to_string(),
    };
    let written = match error.use_stderr() {
        true => write!(host.err, "{text}"),
        false => write!(host.out, "{text}").and_then(|()| host.out.flush()),
    };
    // Whether or not anyone could read it, the code says what it was.
    drop(written);
    u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code())
}

fn dispatch(command: Command, host: &mut Host<'_>) -> Outcome {
    match command {
        Command::Demo(_) => demo::run(host),
        Command::Serve(args) => serve::run(&args, host),
        Command::Init(args) => init::run(&args, host),
        Command::CheckConfig(args) => check::run(&args, host),
        Command::Token(args) => token::run(&args, host),
        Command::Whoami(args) => whoami::run(&args, host),
        Command::Run(args) => run::run(&args, host),
        Command::GitCredential(args) => git_credential::run(&args, host),
        Command::Ready(args) => ready::run(&args, host),
        Command::Status(args) => status::run(&args, host),
        Command::Agents(command) => agents::run(command, host),
        Command::Revoke(args) => revoke::revoke(&args, host),
        Command::Lift(args) => revoke::lift(&args, host),
        Command::Drill(args) => drill::run(&args, host),
        Command::Revocations(args) => revocations::run(&args, host),
        Command::Audit(command) => audit::run(&command, host),
        Command::Backup(args) => backup::back_up(&args, host),
        Command::Restore(args) => backup::restore(&args, host),
        Command::Store(move_store::StoreCommand::Copy(args)) => move_store::copy(&args, host),
        Command::Keygen(args) => keygen::run(&args, host),
        Command::Operator(command) => operator::run(&command, host),
        Command::Completions(args) => completions::run(&args, host),
        Command::Man(args) => man::run(&args, host),
    }
}
