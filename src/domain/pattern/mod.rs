//! Globs, anchored at both ends by construction. There is no regular expression in any policy.
//!
//! `*` matches any run of characters within one segment, `**` any run at all. A [`Pattern`] is over
//! paths and refs, whose segments end at `/` and where `**` may only be the whole last segment; a
//! [`ClaimPattern`] is over one claim's value, whose segments end at `:` or `/`.
//!
//! Callers write patterns too, in `authorization_details`. Every comparison of a [`Pattern`] takes time linear in
//! the two texts compared, whatever stars they hold.

mod automaton;
mod claim;
mod segment;
mod set;
mod syntax;

use std::str::FromStr;

use crate::domain::text::serialized_as_text;

pub use claim::ClaimPattern;
pub use set::{ClaimPatterns, OverlappingPatterns};
pub use syntax::InvalidPattern;

/// The segment that matches all that follows.
const REST: &str = "**";

/// A pattern over the paths of an endpoint (`/v1/entries/**`) or the refs of a repository
/// (`refs/heads/agent/*`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, text: &str) -> bool {
        self.walk(text, segment::absorbs)
    }

    /// Whether every path or ref that `other` matches is matched by this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        self.walk(&other.0, |glob, narrow| narrow != REST && segment::absorbs(glob, narrow))
    }

    /// Whether some path or ref is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(REST), Some(_)) | (Some(_), Some(REST)) => return true,
                (Some(a), Some(b)) if segment::overlap(a, b) => {}
                _ => return false,
            }
        }
    }

    /// Whether `fits` holds of each pair of segments, and none is left over. `**` takes in the segment that it
    /// meets and all after it.
    fn walk(&self, text: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
        let mut segments = text.split('/');
        for glob in self.0.split('/') {
            let Some(segment) = segments.next() else { return false };
            if glob == REST {
                return true;
            }
            if !fits(glob, segment) {
                return false;
            }
        }
        segments.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        syntax::check(text)?;
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
                REST if last => {}
                _ if segment.contains(REST) => return Err(InvalidPattern::DoubleStar),
                // `/` alone is the root, and `/v1/` a path that ends in a slash.
                "" if last && text.starts_with('/') => {}
                "" | "." | ".." => return Err(InvalidPattern::Segment),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

serialized_as_text!(Pattern);

#[cfg(test)]
mod tests;
