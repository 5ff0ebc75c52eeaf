//! How a command ends when it does not succeed: an exit code, what happened, and what to do.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::cli::show::safe;
use crate::domain::reason::Reason;

/// How every command ends.
pub type Outcome<T = ()> = Result<T, Failure>;

/// The exit codes that are not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something did not work: the network, a file, the broker itself.
    Failed,
    /// The command was not given what it needs.
    Usage,
    /// The broker said no.
    Refused,
    /// Whoever read standard output has gone (`hallpass … | head`). Nothing is wrong, nothing is said.
    Unread,
    /// The command that `hallpass run` ran ended with this code, or could not be started.
    Command(u8),
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Command(code) => code,
        }
    }
}

/// Why a command did not succeed, as a person reads it on standard error.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    message: String,
    facts: Vec<(&'static str, String)>,
    remedy: Option<String>,
    passes_after: Option<Duration>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), facts: Vec::new(), remedy: None, passes_after: None }
    }

    /// A command that could not be started, with the exit code that a shell gives it.
    pub fn not_started(code: u8, message: impl Into<String>) -> Self {
        Self::new(Exit::Command(code), message)
    }

    /// A command that ran and ended with another code than 0. It has said why itself.
    pub fn of_command(code: u8) -> Self {
        Self::new(Exit::Command(code), "")
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// One more line, `label: value`.
    pub fn fact(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((label, value.into()));
        self
    }

    /// The same call may succeed later, `after` this long at the earliest.
    pub fn passing(mut self, after: Duration) -> Self {
        self.passes_after = Some(after);
        self
    }

    /// How long to wait at least before the same call is worth another try. `None`: it is not.
    pub fn passes_after(&self) -> Option<Duration> {
        self.passes_after
    }

    /// Whether the broker said that the agent has nothing at the place that was named.
    pub fn is_of_target(&self) -> bool {
        let reasons = [Reason::TargetNotRegistered, Reason::NothingFree].map(Reason::as_str);
        self.facts.iter().any(|(label, value)| *label == "reason" && reasons.contains(&value.as_str()))
    }

    /// What happened, without what to do about it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the reader should do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return Ok(());
        }
        writeln!(f, "error: {}", safe(&self.message))?;
        for (label, value) in &self.facts {
            writeln!(f, "  {label}: {}", safe(value))?;
        }
        match &self.remedy {
            Some(remedy) => writeln!(f, "  remedy: {}", safe(remedy)),
            None => Ok(()),
        }
    }
}

/// A failure to write standard output. Files and the network name what they are about instead.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Unread, "standard output is closed"),
            _ => Self::failed(format!("cannot write standard output: {error}")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}
