//! What a command sees of the machine, so that a test can be the machine.

use std::ffi::OsString;
use std::io::{Read, Write};

use crate::cli::show::safe;
use crate::cli::{Failure, Outcome};
use crate::domain::random::Random;
use crate::domain::time::Clock;
use crate::outbound::Way;

/// As the broker has it: `outbound.proxy`.
const PROXY: &str = "HALLPASS_OUTBOUND__PROXY";

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

    /// The proxy that `HALLPASS_OUTBOUND__PROXY` names, or has the usual variables name.
    ///
    /// # Errors
    /// When it is no proxy that can be used.
    pub fn way(&self) -> Outcome<Way> {
        let text = |name: &str| self.env(name)?.into_string().ok();
        let refused = |name: &str, bad| Failure::usage(format!("{name} {bad}"));
        match text(PROXY).as_deref() {
            None => Ok(Way::default()),
            Some("environment") => Way::of_environment(text).map_err(|(name, bad)| refused(name, bad)),
            Some(url) => {
                let except = text("no_proxy").or_else(|| text("NO_PROXY")).unwrap_or_default();
                Way::by(url, &except).map_err(|bad| refused(PROXY, bad))
            }
        }
    }

    /// An environment variable that is set and not empty. CI systems pass an absent secret as the
    /// empty string, which proves as little as an absent one.
    pub fn env(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }
}
