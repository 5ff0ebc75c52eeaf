//! Globs over one claim's value, where `**` may stand anywhere.
//!
//! A rule is an operator's text, a value is a caller's. A value is read once, and each of its characters costs
//! one step for every 64 pieces of the rule: nine steps at most.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::domain::pattern::automaton::{Automaton, Piece, SEPARATORS};
use crate::domain::pattern::syntax::{InvalidPattern, check};
use crate::domain::text::serialized_as_text;

/// A rule for one string claim of a workload identity: the exact value, or a glob of it.
#[derive(Clone)]
pub struct ClaimPattern {
    text: Box<str>,
    /// None where the rule is one exact value.
    automaton: Option<Automaton>,
}

impl ClaimPattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What comes before the first star: the whole of an exact value.
    pub fn prefix(&self) -> &str {
        self.text.split('*').next().unwrap_or_default()
    }

    /// Made anew each time: only the comparison of rules with one another needs them.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        Piece::of(&self.text)
    }

    pub fn matches(&self, value: &str) -> bool {
        match &self.automaton {
            None => *self.text == *value,
            Some(automaton) => automaton.absorbs(value.chars().map(Piece::Char)),
        }
    }

    /// Whether this is one exact value rather than a glob.
    pub fn is_exact(&self) -> bool {
        self.automaton.is_none()
    }

    /// Whether every value of some kind would match: a rule that says nothing.
    pub fn is_everything(&self) -> bool {
        self.pieces().iter().all(|piece| !matches!(piece, Piece::Char(c) if !SEPARATORS.contains(c)))
    }

    /// Whether every value that `other` matches is matched by this rule. A star of `other` stands for runs of
    /// characters that occur in no pattern, so only a star as wide can absorb it; that makes inclusion the same
    /// walk as matching.
    pub fn covers(&self, other: &Self) -> bool {
        match &self.automaton {
            None => self.text == other.text,
            Some(automaton) => automaton.absorbs(other.pieces().into_iter()),
        }
    }

    /// Whether some value is matched by both. For rules alone, which operators write: its time is the product
    /// of both lengths.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.pieces(), other.pieces());
        // Most pairs part before either has a star.
        let heads = ours.iter().zip(&theirs);
        let mut heads = heads.take_while(|(a, b)| matches!((a, b), (Piece::Char(_), Piece::Char(_))));
        if heads.any(|(a, b)| a != b) {
            return false;
        }
        let (n, m) = (ours.len(), theirs.len());
        let absorbs = |star: Piece, c: char| star == Piece::DoubleStar || !SEPARATORS.contains(&c);
        // `below[j]` answers for the next piece of `self`, `row[j]` for this one.
        let mut below = vec![false; m + 1];
        for i in (0..=n).rev() {
            let mut row = vec![false; m + 1];
            for j in (0..=m).rev() {
                row[j] = match (ours.get(i), theirs.get(j)) {
                    (None, None) => true,
                    (Some(Piece::Char(a)), Some(Piece::Char(b))) => a == b && below[j + 1],
                    (Some(Piece::Char(c)), Some(star)) => row[j + 1] || (absorbs(*star, *c) && below[j]),
                    (Some(star), Some(Piece::Char(c))) => below[j] || (absorbs(*star, *c) && row[j + 1]),
                    (Some(_), Some(_)) => below[j] || row[j + 1],
                    (Some(piece), None) => !matches!(piece, Piece::Char(_)) && below[j],
                    (None, Some(piece)) => !matches!(piece, Piece::Char(_)) && row[j + 1],
                };
            }
            below = row;
        }
        below[0]
    }
}

impl FromStr for ClaimPattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        check(text)?;
        let pieces = Piece::of(text);
        let is_exact = pieces.iter().all(|piece| matches!(piece, Piece::Char(_)));
        let automaton = (!is_exact).then(|| Automaton::of(&pieces));
        Ok(Self { text: text.into(), automaton })
    }
}

impl PartialEq for ClaimPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ClaimPattern {}

impl Ord for ClaimPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for ClaimPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for ClaimPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

serialized_as_text!(ClaimPattern);
