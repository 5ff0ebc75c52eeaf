//! Signals that are passed on to the command.

use std::io;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Every signal that asks something of the command, and what its name is to the kernel.
const PASSED: [(Signal, SignalKind); 6] = [
    (Signal::TERM, SignalKind::terminate()),
    (Signal::INT, SignalKind::interrupt()),
    (Signal::QUIT, SignalKind::quit()),
    (Signal::HUP, SignalKind::hangup()),
    (Signal::USR1, SignalKind::user_defined1()),
    (Signal::USR2, SignalKind::user_defined2()),
];

/// The signals of this process, from now on: none of them ends it any more.
pub struct Signals(Vec<(Signal, Stream)>);

impl Signals {
    /// Those that were ignored stay so: under `nohup` the command must not see a hangup either.
    ///
    /// # Errors
    /// When the kernel takes no handler.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let heard = PASSED.into_iter().filter(|(_, kind)| ignored & (1 << (kind.as_raw_value() - 1)) == 0);
        heard.map(|(name, kind)| Ok((name, signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// Passes on what comes to `child`, for ever.
    pub async fn pass_on(&mut self, child: Pid) -> std::convert::Infallible {
        loop {
            let signal = self.next().await;
            if is_of_the_keyboard(signal) && is_in_the_foreground() {
                // The terminal has sent it to the whole foreground group, so to the command as well. Twice
                // would tell many programs to give up at once, without cleaning up.
                continue;
            }
            // The command is not waited for yet, so its id is its own; it may have ended all the same.
            let _ = kill_process(child, signal);
        }
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (name, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

fn is_of_the_keyboard(signal: Signal) -> bool {
    signal == Signal::INT || signal == Signal::QUIT
}

/// Whether Ctrl-C would reach this process and its command: its group is the one that the terminal listens to.
fn is_in_the_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}

/// The signals that this process was started to ignore, a bit each. None where the kernel does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
