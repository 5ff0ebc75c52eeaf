//! Many claim patterns at once: which of them match a value, and which have a value in common with another pattern.
//!
//! A tree of the patterns in which those that begin alike share a path, so that the cost follows the length of a value
//! and not how many patterns there are. A second tree holds them read backwards, for those that end differently only.

mod tree;

use super::automaton::Piece;
use super::claim::ClaimPattern;
use tree::Tree;

/// Patterns, each with what it stands for.
#[derive(Debug)]
pub struct ClaimPatterns<T> {
    forwards: Tree<T>,
    /// Those with many stars, which are asked one by one: a value could be followed through each of their stars.
    starry: Vec<(ClaimPattern, T)>,
}

/// A pattern with more is not put into the tree.
const MOST_STARS: usize = 8;

impl<T> Default for ClaimPatterns<T> {
    fn default() -> Self {
        Self { forwards: Tree::default(), starry: Vec::new() }
    }
}

impl<T: Copy> ClaimPatterns<T> {
    pub fn insert(&mut self, pattern: &ClaimPattern, of: T) {
        let pieces = pattern.pieces();
        if pieces.iter().filter(|piece| piece.is_star()).count() > MOST_STARS {
            self.starry.push((pattern.clone(), of));
        } else {
            self.forwards.insert(&pieces, of);
        }
    }

    /// Calls `found` for each pattern that matches `value`, once.
    pub fn matching(&self, value: &str, mut found: impl FnMut(T)) {
        self.forwards.matching(value, &mut found);
        self.starry.iter().filter(|(pattern, _)| pattern.matches(value)).for_each(|(_, of)| found(*of));
    }
}

/// The same, for rules that are compared with one another.
#[derive(Debug)]
pub struct OverlappingPatterns<T> {
    forwards: Tree<T>,
    backwards: Tree<T>,
}

impl<T> Default for OverlappingPatterns<T> {
    fn default() -> Self {
        Self { forwards: Tree::default(), backwards: Tree::default() }
    }
}

impl<T: Copy> OverlappingPatterns<T> {
    pub fn insert(&mut self, pattern: &ClaimPattern, of: T) {
        self.forwards.insert(&pattern.pieces(), of);
        let backwards: Vec<Piece> = pattern.pieces().into_iter().rev().collect();
        self.backwards.insert(&backwards, of);
    }

    /// Those that have a value in common with `pattern`, each once; `None` where it takes more than `effort` steps to
    /// find them.
    pub fn overlapping(&self, pattern: &ClaimPattern, effort: usize) -> Option<Vec<T>> {
        let backwards: Vec<Piece> = pattern.pieces().into_iter().rev().collect();
        self.forwards.meet(&pattern.pieces(), effort).or_else(|| self.backwards.meet(&backwards, effort))
    }
}

#[cfg(test)]
mod tests;
