//! `hallpass run`: a command with a token that is kept fresh for as long as it runs, and dead after.
//!
//! Promises: the command's exit code is its own; signals reach it; whatever happens to a token never
//! ends it; when it ends, its tokens are ended and their file is gone.

pub mod renew;
pub mod signals;
pub mod token_file;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Pid;
use tokio::process::{Child, Command};

use crate::cli::client::wait;
use crate::cli::token::ask::{AskArgs, Asker, Issued};
use crate::cli::token::dpop::DpopArgs;
use crate::cli::token::narrow::{NarrowArgs, Parameters};
use crate::cli::{Failure, Host, Outcome};
use renew::Kept;
use signals::Signals;
use token_file::TokenFile;

pub const TOKEN_FILE: &str = "HALLPASS_TOKEN_FILE";

pub const AFTER_HELP: &str = "\
CMD finds its token in the file that HALLPASS_TOKEN_FILE names, and should read it for each use: at
two thirds of a token's life the file is replaced by one with a new token. The file is private (0600
in a 0700 folder), in memory where the machine has XDG_RUNTIME_DIR or /dev/shm.

The proof is found as by `hallpass token`. SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2 are
passed on. When CMD ends, its tokens are revoked and the file is removed. A renewal that fails is
told on standard error and tried again; CMD runs on.

Exit codes: that of CMD; 128+n where signal n killed it; 127 where CMD is not found, 126 where it
cannot be run; without a token as of every command, and CMD is not started.

Examples:
  hallpass run -- ./refactor.sh
  hallpass run --scope payments:read,payments:push -v -- make agent
  hallpass run -- sh -c 'curl -H \"Authorization: Bearer $(cat \"$HALLPASS_TOKEN_FILE\")\" $LEDGER'";

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
    #[command(flatten)]
    narrow: NarrowArgs,
    #[command(flatten)]
    dpop: DpopArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// # Errors
/// As `hallpass token` before the command is started; then however the command ends, if not with 0.
pub fn run(args: &RunArgs, host: &mut Host<'_>) -> Outcome {
    let asked = args.narrow.parameters()?;
    let key = args.dpop.key(host)?;
    let asker = Asker::new(&args.ask, host)?.bound_to(key);
    wait(with_token(args, &asker, &asked, host))
}

async fn with_token(args: &RunArgs, asker: &Asker, asked: &Parameters, host: &mut Host<'_>) -> Outcome {
    let issued = Issued::read(&asker.ask(asked, host).await?, asker.scheme())?;
    args.narrow.life.warn_of_less(issued.lifetime, host);
    // From here on a signal does not end this process, so that nothing is left behind.
    let listening =
        Signals::listen().map_err(|error| Failure::failed(format!("cannot hear signals: {error}")));
    let started = listening.and_then(|signals| {
        let file = TokenFile::create(host)?;
        file.replace(&issued.token)?;
        let child = start(&args.command, &file)?;
        Ok((signals, file, child))
    });
    let mut kept = Kept::new(issued, host.clock.now());
    let ended = match started {
        Ok((mut signals, file, mut child)) => tokio::select! {
            ended = until_it_ends(&mut child, &mut signals) => ended,
            never = kept.renew(asker, asked, &file, host) => match never {},
        },
        Err(failure) => Err(failure),
    };
    kept.end(asker, host).await;
    match code(ended?) {
        0 => Ok(()),
        code => Err(Failure::of_command(code)),
    }
}

/// In this process's own group, so that a terminal's Ctrl-C and Ctrl-Z reach it as if it ran alone.
fn start(command: &[OsString], file: &TokenFile) -> Outcome<Child> {
    let (program, arguments) = command.split_first().expect("clap requires one word");
    let started = Command::new(program).args(arguments).env(TOKEN_FILE, file.path()).spawn();
    started.map_err(|error| {
        let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
        Failure::not_started(code, format!("cannot run {}: {error}", program.to_string_lossy()))
    })
}

async fn until_it_ends(child: &mut Child, signals: &mut Signals) -> Outcome<ExitStatus> {
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let id = id.ok_or_else(|| Failure::failed("the command has no process id"))?;
    tokio::select! {
        ended = child.wait() => ended.map_err(|error| Failure::failed(format!("cannot wait: {error}"))),
        never = signals.pass_on(id) => match never {},
    }
}

/// As a shell has it: 128 and the signal's number for a command that a signal killed.
fn code(ended: ExitStatus) -> u8 {
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
