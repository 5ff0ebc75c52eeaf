//! What `hallpass audit verify` recomputes of any backend: the tree over the events, and the kill switch, the signing keys
//! and the log's name as the events tell them, held against what the backend keeps ([`Kept`]).
//!
//! A backend walks its events in order, checks what only it has, such as columns and indexes, and gives each to [`Walk`].

mod difference;
mod keys;
mod stop;
mod stops;

use crate::domain::checkpoint::Checkpoint;
use crate::domain::digest::Digest;
use crate::domain::event::Event;
use crate::domain::merkle::{Frontier, Node, TILE_HEIGHT, empty_root};
use crate::domain::revocation::{Revision, Stop};
use crate::domain::signing::SealedKey;
use crate::store::error::StoreError;
use crate::store::head::{HeadRow, Span};

pub use difference::{Difference, Differences, VerifyError};

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

/// What is recomputed.
pub(in crate::store) struct Walk<'a, K> {
    kept: &'a K,
    /// The last event.
    last: u64,
    /// Whether some events could not be read.
    unread: bool,
    frontier: Frontier,
    span: Span,
    stops: stops::Replay,
    keys: keys::Replay,
    tiles: u64,
    checkpoint: Option<&'a Checkpoint>,
    /// The root of what the checkpoint covers, once it was met.
    covered: Option<Digest>,
    differences: Differences,
}

impl<'a, K: Kept> Walk<'a, K> {
    pub(in crate::store) fn new(kept: &'a K, checkpoint: Option<&'a Checkpoint>) -> Self {
        Self {
            kept,
            last: 0,
            unread: false,
            frontier: Frontier::default(),
            span: Span::default(),
            stops: Default::default(),
            keys: Default::default(),
            tiles: 0,
            checkpoint,
            covered: checkpoint.filter(|checkpoint| checkpoint.size == 0).map(|_| empty_root()),
            differences: Differences::default(),
        }
    }

    /// The `seq` of the next event.
    pub(in crate::store) fn next(&self) -> u64 {
        self.frontier.size() + 1
    }

    /// Where everything that differs is noted.
    pub(in crate::store) fn differences(&mut self) -> &mut Differences {
        &mut self.differences
    }

    /// Takes the next event, whose bytes have this leaf hash.
    pub(in crate::store) fn note(&mut self, seq: u64, leaf: Digest, event: &Event) -> Result<(), StoreError> {
        self.append(seq, leaf)?;
        self.stops.note(self.kept, seq, event, &mut self.differences)?;
        self.keys.note(seq, event, &mut self.differences);
        self.span.note(event.at);
        self.last = seq;
        Ok(())
    }

    /// Takes the next event, which has this leaf hash and cannot be read: the rest of the log is judged without it.
    pub(in crate::store) fn skip(&mut self, seq: u64, leaf: Digest) -> Result<(), StoreError> {
        self.append(seq, leaf)?;
        self.stops.skip(self.kept, seq)?;
        self.keys.skip();
        self.unread = true;
        self.last = seq;
        Ok(())
    }

    /// Compares what is kept with what the events made of it: of a log that was not walked to its end, the stops that it
    /// told of; of a `whole` one everything, and the checkpoint.
    ///
    /// # Errors
    /// With all that was noted.
    pub(in crate::store) fn finish(mut self, whole: bool) -> Result<Verified, VerifyError> {
        self.stops.check(self.kept, self.last, whole, &mut self.differences)?;
        if whole {
            self.tiles()?;
            let head = self.head();
            self.differences.take(head)?;
            self.keys.check(self.kept, &mut self.differences)?;
            self.checkpoint();
        }
        let verified = Verified { size: self.last, root: self.frontier.root() };
        self.differences.check().map(|()| verified)
    }

    fn checkpoint(&mut self) {
        let Some(&Checkpoint { size: covered, root, .. }) = self.checkpoint else { return };
        match self.covered {
            None => self.differences.push(Difference::Truncated { size: self.last, covered }),
            Some(found) if found != root => self.differences.push(Difference::Rewritten { covered }),
            Some(_) => {}
        }
    }

    fn append(&mut self, seq: u64, leaf: Digest) -> Result<(), StoreError> {
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
                self.differences.push(Difference::Tampered { first, last: seq, problem });
            }
        }
        if self.checkpoint.is_some_and(|checkpoint| checkpoint.size == seq) {
            self.covered = Some(self.frontier.root());
        }
        Ok(())
    }

    fn tiles(&mut self) -> Result<(), StoreError> {
        if self.kept.tiles()? > self.tiles {
            let problem = "there are inner nodes over events that the log does not have";
            self.differences.push(Difference::Head(problem.to_owned()));
        }
        Ok(())
    }

    fn head(&self) -> Result<(), VerifyError> {
        let head = match self.kept.head() {
            Err(StoreError::Damaged(problem)) => return Err(Difference::Head(problem).into()),
            head => head?,
        };
        let size = self.frontier.size();
        let tampered = |first, last, problem: &str| {
            Err(Difference::Tampered { first, last, problem: problem.to_owned() }.into())
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
            return Err(Difference::Head("its root is not that of its events".to_owned()).into());
        }
        if head.span != self.span && !self.unread {
            return Err(Difference::Head("its times are not those of its events".to_owned()).into());
        }
        Ok(())
    }
}
