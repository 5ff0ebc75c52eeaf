//! What `hallpass audit verify` finds: each place where the log is not what it was.

use std::fmt;

use crate::store::error::StoreError;

/// A place where the log is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The event at fault; the first and last of those among which it is, where only a hash over several tells.
    #[error("{}: {problem}", events(*.first, *.last))]
    Tampered { first: u64, last: u64, problem: String },
    /// One of the database's tables or indexes is not as hallpass makes it, or not one of its.
    #[error("the database's own definition of {0} was changed")]
    Schema(String),
    /// The file contradicts itself, whatever hallpass wrote into it.
    #[error("the database file is damaged: {0}")]
    Broken(String),
    /// Which one, and how.
    #[error("the signing keys are not those that the log tells of: {0}")]
    Keys(String),
    #[error("the log was named {0}, and what the database says of itself is something else")]
    Origin(String),
    #[error("the head was changed: {0}")]
    Head(String),
    /// The checkpoint covers events that are gone.
    #[error("the log ends at event {size}, but the checkpoint covers {covered}: events were removed")]
    Truncated { size: u64, covered: u64 },
    /// The log is whole in itself, and another than the one that was signed.
    #[error("the first {covered} events are not those that the checkpoint was signed for")]
    Rewritten { covered: u64 },
    #[error("the checkpoint is of the log {found}, and this one is {expected}")]
    OtherLog { found: String, expected: String },
}

impl Difference {
    pub(in crate::store) fn event(seq: u64, problem: impl Into<String>) -> Self {
        Self::Tampered { first: seq, last: seq, problem: problem.into() }
    }

    /// The first and last of the events among which the one at fault is, where an event is.
    pub fn events(&self) -> Option<(u64, u64)> {
        match self {
            Self::Tampered { first, last, .. } => Some((*first, *last)),
            _ => None,
        }
    }
}

fn events(first: u64, last: u64) -> String {
    if first == last { format!("event {first}") } else { format!("events {first} to {last}") }
}

/// All that was found, in the order of the events; what no event is at fault for stands last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Differences {
    named: Vec<Difference>,
    unnamed: u64,
    /// The last event that was judged, where not all were.
    judged: Option<u64>,
}

impl Differences {
    /// So many are named; the rest is counted, so that memory does not grow with what was changed.
    pub const NAMED: usize = 1000;

    pub(in crate::store) fn push(&mut self, difference: Difference) {
        if self.named.len() < Self::NAMED {
            self.named.push(difference);
        } else {
            self.unnamed += 1;
        }
    }

    /// Notes what ended a step of the verification, unless the store could not be read.
    pub(in crate::store) fn take(&mut self, step: Result<(), VerifyError>) -> Result<(), StoreError> {
        match step {
            Ok(()) => Ok(()),
            Err(VerifyError::Store(error)) => Err(error),
            Err(VerifyError::Differs(differences)) => {
                self.unnamed += differences.unnamed;
                differences.named.into_iter().for_each(|difference| self.push(difference));
                Ok(())
            }
        }
    }

    /// # Errors
    /// With all of them, if there is one.
    pub(in crate::store) fn check(mut self) -> Result<(), VerifyError> {
        self.named.sort_by_key(|difference| difference.events().unwrap_or((u64::MAX, u64::MAX)));
        if self.named.is_empty() { Ok(()) } else { Err(VerifyError::Differs(self)) }
    }

    /// Nothing after the event `last` could be judged.
    pub(in crate::store) fn end_at(&mut self, last: u64) {
        self.judged = Some(last);
    }

    /// The last event that was judged, where those after it could not be.
    pub fn judged(&self) -> Option<u64> {
        self.judged
    }

    pub fn named(&self) -> &[Difference] {
        &self.named
    }

    /// How many more there are.
    pub fn unnamed(&self) -> u64 {
        self.unnamed
    }
}

/// The first, and how many more.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.named.split_first() else { return f.write_str("nothing") };
        write!(f, "{first}")?;
        match rest.len() as u64 + self.unnamed {
            0 => {}
            more => write!(f, "; and {more} more")?,
        }
        match self.judged {
            None => Ok(()),
            Some(last) => write!(f, "; nothing after event {last} was judged"),
        }
    }
}

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0}")]
    Differs(Differences),
    /// It could not be read, so that nothing was found.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Difference> for VerifyError {
    fn from(difference: Difference) -> Self {
        Self::Differs(Differences { named: vec![difference], ..Differences::default() })
    }
}
