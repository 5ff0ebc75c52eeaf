//! How far a long verification is, on standard error where that is a terminal.

use std::io::{IsTerminal as _, Write as _};

/// Logs that are read sooner than a person looks get no progress.
const WORTH_TELLING: u64 = 50_000;

/// One line that is written over and over, and gone at the end.
pub(super) struct Progress {
    terminal: bool,
    percent: Option<u64>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), percent: None }
    }

    pub(super) fn at(&mut self, done: u64, total: u64) {
        let percent = done.saturating_mul(100) / total.max(1);
        if !self.terminal || total < WORTH_TELLING || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        // Nobody is left to tell where standard error cannot be written.
        let _ = write!(std::io::stderr(), "\r{percent:3} % of {total} events");
    }

    pub(super) fn end(self) {
        if self.percent.is_some() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
