//! What `hallpass audit verify` recomputes of any backend: the tree over the events, and the kill switch, the signing keys
//! and the log's name as the events tell them, held against what the backend keeps ([`Kept`]).
//!
//! A backend walks its events in order, checks what only it has, such as columns and indexes, and gives each to [`Walk`].

mod keys;
mod stops;

use crate::domain::checkpoint::Checkpoint;
use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::merkle::{Frontier, Node, TILE_HEIGHT, empty_root};
use crate::domain::revocation::{Revision, Stop};
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::head::{HeadRow, Span};

/// What a backend keeps beside the events, at one moment.
pub(in crate::store) trait Kept {
    fn head(&self) -> Result<HeadRow, StoreError>;

    /// The inner node at this place, and how many there are.
    fn tile(&self, node: Node) -> Result<Option<Digest>, StoreError>;
    fn tiles(&self) -> Result<u64, StoreError>;

    /// The `seq` of a change of the kill switch and the token that ended by it, and how many changes there are.
    fn change(&self, number: Revision) -> Result<Option<(u64, Option<String>)>, StoreError>;
    fn changes(&self) -> Result<u64, StoreError>;

    /// The stop that began with the event `seq`, and of every stop that `seq` and its lift's, in order.
    fn stop(&self, seq: u64) -> Result<Option<Stop>, StoreError>;
    fn stops(&self) -> Result<Vec<(u64, Option<u64>)>, StoreError>;

    fn keys(&self) -> Result<Vec<SealedKey>, StoreError>;

    /// What the store says of itself, by name.
    fn names(&self) -> Result<Vec<(String, String)>, StoreError>;
}

/// A log that is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub size: u64,
    pub root: Digest,
}

/// Where the log is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first event that fails; the first and last of those among which it is, where only a hash over
    /// several tells.
    #[error("{}: {problem}", events(*.first, *.last))]
    Tampered { first: u64, last: u64, problem: String },
    /// The database's tables are not those that hallpass makes.
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
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VerifyError {
    pub(in crate::store) fn event(seq: u64, problem: impl Into<String>) -> Self {
        Self::Tampered { first: seq, last: seq, problem: problem.into() }
    }
}

fn events(first: u64, last: u64) -> String {
    if first == last { format!("event {first}") } else { format!("events {first} to {last}") }
}

/// What is recomputed.
pub(in crate::store) struct Walk<'a, K> {
    kept: &'a K,
    /// The last event that was good in itself.
    good: u64,
    frontier: Frontier,
    span: Span,
    stops: stops::Replay,
    keys: keys::Replay,
    tiles: u64,
    checkpoint: Option<&'a Checkpoint>,
    /// The root of what the checkpoint covers, once it was met.
    covered: Option<Digest>,
}

impl<'a, K: Kept> Walk<'a, K> {
    pub(in crate::store) fn new(kept: &'a K, checkpoint: Option<&'a Checkpoint>) -> Self {
        Self {
            kept,
            good: 0,
            frontier: Frontier::default(),
            span: Span::default(),
            stops: Default::default(),
            keys: Default::default(),
            tiles: 0,
            checkpoint,
            covered: checkpoint.filter(|checkpoint| checkpoint.size == 0).map(|_| empty_root()),
        }
    }

    /// The `seq` of the next event.
    pub(in crate::store) fn next(&self) -> u64 {
        self.frontier.size() + 1
    }

    /// Takes the next event, whose bytes have this leaf hash.
    pub(in crate::store) fn note(
        &mut self,
        seq: u64,
        leaf: Digest,
        event: &Event,
    ) -> Result<(), VerifyError> {
        self.append(seq, leaf)?;
        self.stops.note(self.kept, seq, event)?;
        self.keys.note(seq, event)?;
        self.span.note(event.at.millis());
        Ok(())
    }

    /// The event `seq` is good in what only the backend knows, too.
    pub(in crate::store) fn accept(&mut self, seq: u64) {
        self.good = seq;
    }

    /// Compares the stops with what the events so far made of them; where they are the `whole` log, everything.
    pub(in crate::store) fn check_stops(&self, whole: bool) -> Result<(), VerifyError> {
        self.stops.check(self.kept, self.good, whole)
    }

    /// Compares what is kept of the whole log, which was walked, and the checkpoint.
    pub(in crate::store) fn finish(self) -> Result<Verified, VerifyError> {
        self.tiles()?;
        self.head()?;
        self.keys.check(self.kept)?;
        let verified = Verified { size: self.good, root: self.frontier.root() };
        let Some(checkpoint) = self.checkpoint else { return Ok(verified) };
        match self.covered {
            None => Err(VerifyError::Truncated { size: self.good, covered: checkpoint.size }),
            Some(root) if root != checkpoint.root => Err(VerifyError::Rewritten { covered: checkpoint.size }),
            Some(_) => Ok(verified),
        }
    }

    fn append(&mut self, seq: u64, leaf: Digest) -> Result<(), VerifyError> {
        let mut completed = Vec::new();
        self.frontier.append_with(leaf, |node, hash| {
            if node.level.is_multiple_of(TILE_HEIGHT) {
                completed.push((node, *hash));
            }
        });
        for (node, hash) in completed {
            self.tiles += 1;
            if self.kept.tile(node)? != Some(hash) {
                let first = (node.index << node.level) + 1;
                let problem = "the inner node over them is not the one that was written".to_owned();
                return Err(VerifyError::Tampered { first, last: seq, problem });
            }
        }
        if self.checkpoint.is_some_and(|checkpoint| checkpoint.size == seq) {
            self.covered = Some(self.frontier.root());
        }
        Ok(())
    }

    fn tiles(&self) -> Result<(), VerifyError> {
        if self.kept.tiles()? == self.tiles {
            return Ok(());
        }
        Err(VerifyError::Head("there are inner nodes over events that the log does not have".to_owned()))
    }

    fn head(&self) -> Result<(), VerifyError> {
        let head = match self.kept.head() {
            Err(StoreError::Damaged(problem)) => return Err(VerifyError::Head(problem)),
            head => head?,
        };
        let size = self.frontier.size();
        let tampered = |first, last, problem: &str| {
            Err(VerifyError::Tampered { first, last, problem: problem.to_owned() })
        };
        if head.size > size {
            return tampered(size + 1, head.size, "missing, though the head counts it");
        }
        if head.size < size {
            return tampered(head.size + 1, size, "not counted by the head");
        }
        let peaks = self.frontier.peaks().iter().zip(&head.peaks).zip(self.frontier.ranges());
        for ((computed, kept), (start, end)) in peaks {
            if computed != kept {
                return tampered(start + 1, end, "the head was signed over other events");
            }
        }
        if head.peaks.len() != self.frontier.peaks().len() || head.root != self.frontier.root() {
            return Err(VerifyError::Head("its root is not that of its events".to_owned()));
        }
        if head.span != self.span {
            return Err(VerifyError::Head("its times are not those of its events".to_owned()));
        }
        Ok(())
    }
}
