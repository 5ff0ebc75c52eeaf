//! The program: gives the command line the machine it runs on, and the process its exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use hallpass::cli::{self, Host};
use hallpass::domain::random::Random;
use hallpass::domain::time::{Clock, Timestamp};

/// Threads that free what others allocated, as the journal's does, wait for one another in the allocator of glibc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only where a provider is installed already, and this is the first line to install one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    hallpass::token::install_crypto();
    // Not locked: what `serve` logs comes from other threads.
    let (mut stdin, mut stdout, mut stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut host = Host {
        clock: system_clock(),
        random: system_random(),
        env: &|name| std::env::var_os(name),
        terminal: stdout.is_terminal(),
        input: &mut stdin,
        out: &mut stdout,
        err: &mut stderr,
    };
    ExitCode::from(cli::run(std::env::args_os(), &mut host))
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program; everything else is handed it")]
fn system_clock() -> Clock {
    Clock::new(|| Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()))
}

#[expect(clippy::disallowed_methods, reason = "the one source of randomness; everything else is handed it")]
fn system_random() -> Random {
    Random::new(ring::rand::SystemRandom::new())
}
