//! What a command sees of the machine, so that a test can be the machine.

use std::ffi::OsString;
use std::io::{Read, Write};

use crate::cli::show::safe;
use crate::domain::random::Random;
use crate::domain::time::Clock;

/// The machine as one command sees it.
pub struct Host<'a> {
    pub clock: Clock,
    pub random: Random,
    /// Reads one environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Standard input, which `git-credential` and `revoke -` read.
    pub input: &'a mut dyn Read,
    /// Standard output: what was asked for, and nothing else.
    pub out: &'a mut dyn Write,
    /// Standard error: warnings, notes, and why it failed.
    pub err: &'a mut dyn Write,
    /// Whether standard output is a terminal, whose scrollback keeps what it shows.
    pub terminal: bool,
}

impl Host<'_> {
    /// A note for the person, beside the output.
    pub fn note(&mut self, text: &str) {
        // Nobody is left to tell where standard error cannot be written.
        let _ = writeln!(self.err, "{}", safe(text));
    }

    pub fn warn(&mut self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    /// An environment variable that is set and not empty. CI systems pass an absent secret as the
    /// empty string, which proves as little as an absent one.
    pub fn env(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }
}
