//! What an enforcement point outside is told of the kill switch: a book in pieces, each of bounded size, and the place
//! that it has reached when it has taken them in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;
use crate::domain::id::{StopId, TokenId};
use crate::domain::revocation::{Book, Point, Revision, Standing, Target};

/// Entries of one piece: some 60 KB of JSON.
const MOST: usize = 512;

/// How far an enforcement point has followed, in a text that is worth the same at every node: the last change, which change
/// that was, and which stops without a number it holds. `4711-9f86d081884c7d65-00000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub revision: Revision,
    /// The first bytes of the change's mark.
    mark: u64,
    /// Of the targets that are stopped without a number; 0 for none.
    pub unnumbered: u32,
}

/// A text that is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place is the id of an event of the stream, as it was sent")]
pub struct InvalidPlace;

impl Place {
    pub fn of(book: &Book) -> Self {
        let Point { revision, mark } = book.point();
        Self { revision, mark: first_bytes(&mark), unnumbered: unnumbered(book) }
    }

    /// Whether its last change is that of `mark`: two histories that gave a number twice differ in it.
    pub fn is_of(&self, mark: &Digest) -> bool {
        self.mark == first_bytes(mark)
    }
}

fn first_bytes(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn unnumbered(book: &Book) -> u32 {
    let mut targets: Vec<String> = book.unnumbered().map(|(target, _)| format!("{target}\n")).collect();
    if targets.is_empty() {
        return 0;
    }
    targets.sort_unstable();
    let [a, b, c, d, ..] = Digest::of(targets.concat().as_bytes()).0;
    u32::from_be_bytes([a, b, c, d]).max(1)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{:08x}", self.revision, self.mark, self.unnumbered)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(InvalidPlace);
        let (revision, mark, unnumbered) = (next()?, next()?, next()?);
        let place = Self {
            revision: Revision::new(revision.parse().map_err(|_| InvalidPlace)?),
            mark: u64::from_str_radix(mark, 16).map_err(|_| InvalidPlace)?,
            unnumbered: u32::from_str_radix(unnumbered, 16).map_err(|_| InvalidPlace)?,
        };
        // One text a place, and no sign or zero that a parser forgives.
        if place.to_string() == text { Ok(place) } else { Err(InvalidPlace) }
    }
}

/// A part of what is told. What several say together holds when the last of them, which has no `more`, has been taken in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Piece {
    /// Everything known before is void: these pieces begin anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reset: bool,
    /// More pieces follow at once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    pub stops: Vec<Told>,
    pub ended: Vec<EndedToken>,
    /// Every target that is stopped by a stop without a number. It covers every token, whenever it was decided.
    pub unnumbered: Vec<Target>,
    /// Every change up to this one is known once the last piece is taken in.
    pub revision: Revision,
    /// A token that was decided before this change is dead.
    pub floor: Revision,
}

/// What is known of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub target: Target,
    /// The stop in force; none where the target was stopped and is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopId>,
    /// The last stop: a token of the target that was decided before it is dead, lifted or not.
    pub stopped: Revision,
    /// The last change: that stop or its lift.
    pub changed: Revision,
}

/// A token that its holder ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedToken {
    pub token: TokenId,
    pub revision: Revision,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Piece {
    /// What an enforcement point knows when it has taken the pieces in.
    pub fn take_in(self, book: &mut Book) {
        if self.reset {
            *book = Book::default();
        }
        for Told { target, stop, stopped, changed } in self.stops {
            book.note(target, Standing { stop, stopped, changed });
        }
        for EndedToken { token, revision } in self.ended {
            book.end(token, revision);
        }
        if !self.more {
            book.clear_unnumbered();
            for target in self.unnumbered {
                book.note_unnumbered(target, StopId::NIL);
            }
            book.complete_to(Point { revision: self.revision, ..Point::ZERO });
            book.raise_floor(self.floor);
        }
    }
}

/// What a book holds beyond a place, in pieces. It holds one book and no list, however much there is to tell.
#[derive(Debug, Clone)]
pub struct Pieces {
    book: Arc<Book>,
    reset: bool,
    /// Up to where standings and ended tokens were told; none where all were.
    standings: Option<Revision>,
    ended: Option<Revision>,
}

impl Pieces {
    /// All that `book` holds.
    pub fn all(book: Arc<Book>) -> Self {
        Self { reset: true, ..Self::since(book, Revision::ZERO) }
    }

    /// What changed after `revision`, a revision of the same history and not below the floor.
    pub fn since(book: Arc<Book>, revision: Revision) -> Self {
        Self { book, reset: false, standings: Some(revision), ended: Some(revision) }
    }

    /// Where whoever has taken all of them in is then.
    pub fn end(&self) -> Place {
        Place::of(&self.book)
    }

    fn stops(&mut self) -> Vec<Told> {
        let Some(since) = self.standings else { return Vec::new() };
        let mut stops: Vec<Told> = Vec::new();
        for (target, Standing { stop, stopped, changed }) in self.book.after(since) {
            // Those of one change are told together: the next piece begins after it.
            if stops.len() >= MOST && stops.last().is_some_and(|last| last.changed < changed) {
                self.standings = stops.last().map(|last| last.changed);
                return stops;
            }
            stops.push(Told { target: target.clone(), stop, stopped, changed });
        }
        self.standings = None;
        stops
    }

    fn ended(&mut self, room: usize) -> Vec<EndedToken> {
        let Some(since) = self.ended.filter(|_| room > 0) else { return Vec::new() };
        let ended = self.book.ended_after(since, room);
        self.ended = if ended.len() < room { None } else { ended.last().map(|(revision, _)| *revision) };
        ended.into_iter().map(|(revision, token)| EndedToken { token, revision }).collect()
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.standings.is_none() && self.ended.is_none() {
            return None;
        }
        let stops = self.stops();
        let ended = match self.standings {
            None => self.ended(MOST.saturating_sub(stops.len())),
            Some(_) => Vec::new(),
        };
        let more = self.standings.is_some() || self.ended.is_some();
        let unnumbered = if more {
            Vec::new()
        } else {
            self.book.unnumbered().map(|(target, _)| target.clone()).collect()
        };
        Some(Piece {
            reset: std::mem::take(&mut self.reset),
            more,
            stops,
            ended,
            unnumbered,
            revision: self.book.revision(),
            floor: self.book.floor(),
        })
    }
}
