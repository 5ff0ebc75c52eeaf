//! Globs, anchored at both ends by construction. There is no regular expression in any policy.
//!
//! `*` matches any run of characters within one segment, `**` any run at all. A [`Pattern`] is over
//! paths and refs, whose segments end at `/` and where `**` may only be the whole last segment; a
//! [`ClaimPattern`] is over one claim's value, whose segments end at `:` or `/`.

use std::str::FromStr;

use crate::domain::text::serialized_as_text;

/// More than this is not a policy that a person can review.
const MAX_LEN: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("a pattern has 1 to {MAX_LEN} characters")]
    Length,
    #[error("a pattern has no white space and no control characters")]
    Control,
    #[error("`***` means nothing; write `*` (one segment) or `**` (all that follows)")]
    Stars,
    #[error("`**` may only be the whole last segment, as in `/v1/entries/**`")]
    DoubleStar,
    #[error("empty, `.` and `..` segments never match")]
    Segment,
    #[error("`%`, `\\`, `;`, `?` and `#` never match; write the decoded path alone")]
    Character,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    Char(char),
    Star,
    DoubleStar,
}

/// The pieces of a pattern, and what ends a segment for `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Glob {
    text: String,
    pieces: Vec<Piece>,
    separators: &'static [char],
}

impl Glob {
    fn parse(text: &str, separators: &'static [char]) -> Result<Self, InvalidPattern> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(InvalidPattern::Length);
        }
        if text.chars().any(|c| c.is_control()) {
            return Err(InvalidPattern::Control);
        }
        if text.contains("***") {
            return Err(InvalidPattern::Stars);
        }
        let mut pieces = Vec::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => Piece::DoubleStar,
                '*' => Piece::Star,
                c => Piece::Char(c),
            });
        }
        Ok(Self { text: text.to_owned(), pieces, separators })
    }

    fn is_literal(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Char(_)))
    }

    fn matches(&self, text: &str) -> bool {
        if self.is_literal() {
            return self.text == text;
        }
        self.absorbs(text.chars().map(Piece::Char))
    }

    /// Whether every text that `other` matches is matched by this one. A star of `other` stands for
    /// runs of characters that occur in no pattern, so only a star as wide can absorb it; that makes
    /// inclusion the same walk as matching.
    fn covers(&self, other: &Self) -> bool {
        self.absorbs(other.pieces.iter().copied())
    }

    /// Simulates the automaton of this glob: `live[i]` says that `pieces[i..]` may match what follows.
    fn absorbs(&self, input: impl Iterator<Item = Piece>) -> bool {
        let n = self.pieces.len();
        let (mut live, mut next) = (vec![false; n + 1], vec![false; n + 1]);
        live[0] = true;
        self.skip_stars(&mut live);
        for symbol in input {
            next.fill(false);
            for (i, piece) in self.pieces.iter().enumerate().filter(|&(i, _)| live[i]) {
                match (piece, symbol) {
                    (Piece::DoubleStar, _) | (Piece::Star, Piece::Star) => next[i] = true,
                    (Piece::Star, Piece::Char(c)) if !self.separators.contains(&c) => next[i] = true,
                    (Piece::Char(a), Piece::Char(b)) if *a == b => next[i + 1] = true,
                    _ => {}
                }
            }
            self.skip_stars(&mut next);
            std::mem::swap(&mut live, &mut next);
        }
        live[n]
    }

    /// A star may match nothing.
    fn skip_stars(&self, live: &mut [bool]) {
        for (i, piece) in self.pieces.iter().enumerate() {
            if live[i] && !matches!(piece, Piece::Char(_)) {
                live[i + 1] = true;
            }
        }
    }

    /// Whether some text is matched by both.
    fn overlaps(&self, other: &Self) -> bool {
        // Most pairs part before either has a star.
        let heads = self.pieces.iter().zip(&other.pieces);
        let mut heads = heads.take_while(|(a, b)| matches!((a, b), (Piece::Char(_), Piece::Char(_))));
        if heads.any(|(a, b)| a != b) {
            return false;
        }
        let (n, m) = (self.pieces.len(), other.pieces.len());
        let absorbs = |star: Piece, c: char| star == Piece::DoubleStar || !self.separators.contains(&c);
        // `below[j]` answers for the next piece of `self`, `row[j]` for this one.
        let mut below = vec![false; m + 1];
        for i in (0..=n).rev() {
            let mut row = vec![false; m + 1];
            for j in (0..=m).rev() {
                row[j] = match (self.pieces.get(i), other.pieces.get(j)) {
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

/// A pattern over the paths of an endpoint (`/v1/entries/**`) or the refs of a repository
/// (`refs/heads/agent/*`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Glob);

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// Whether every path or ref that `other` matches is matched by this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.covers(&other.0)
    }

    /// Whether some path or ref is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.overlaps(&other.0)
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let glob = Glob::parse(text, &['/'])?;
        if text.chars().any(char::is_whitespace) {
            return Err(InvalidPattern::Control);
        }
        if text.contains(['%', '\\', ';', '?', '#']) {
            return Err(InvalidPattern::Character);
        }
        let inner = text.strip_prefix('/').unwrap_or(text);
        let mut segments = inner.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                "**" if last => {}
                _ if segment.contains("**") => return Err(InvalidPattern::DoubleStar),
                // `/` alone is the root, and `/v1/` a path that ends in a slash.
                "" if last && text.starts_with('/') => {}
                "" | "." | ".." => return Err(InvalidPattern::Segment),
                _ => {}
            }
        }
        Ok(Self(glob))
    }
}

/// A rule for one string claim of a workload identity: the exact value, or a glob of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPattern(Glob);

impl ClaimPattern {
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub fn matches(&self, value: &str) -> bool {
        self.0.matches(value)
    }

    /// Whether this is one exact value rather than a glob.
    pub fn is_exact(&self) -> bool {
        self.0.is_literal()
    }

    /// Whether every value of some kind would match: a rule that says nothing.
    pub fn is_everything(&self) -> bool {
        self.0.pieces.iter().all(|piece| !matches!(piece, Piece::Char(c) if !matches!(c, ':' | '/')))
    }

    pub fn covers(&self, other: &Self) -> bool {
        self.0.covers(&other.0)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.overlaps(&other.0)
    }
}

impl FromStr for ClaimPattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        Ok(Self(Glob::parse(text, &[':', '/'])?))
    }
}

serialized_as_text!(Pattern);
serialized_as_text!(ClaimPattern);

#[cfg(test)]
mod tests;
