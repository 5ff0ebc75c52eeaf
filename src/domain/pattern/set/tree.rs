//! The tree of patterns that begin alike.

use std::collections::{BTreeMap, HashSet};

use crate::domain::pattern::automaton::{Piece, SEPARATORS};

type NodeAt = u32;

#[derive(Debug)]
pub(super) struct Tree<T> {
    /// The first is the root.
    nodes: Vec<Node<T>>,
}

/// Where some patterns have the same beginning, and all that follows.
#[derive(Debug)]
struct Node<T> {
    step: Step,
    /// By the first character of their texts.
    texts: BTreeMap<char, NodeAt>,
    star: Option<NodeAt>,
    double_star: Option<NodeAt>,
    /// The patterns that end here.
    ends: Vec<T>,
}

/// What leads from the node above to this one.
#[derive(Debug)]
enum Step {
    Text(Box<[char]>),
    /// A star of either kind.
    Star(Piece),
}

impl<T> Node<T> {
    fn after(step: Step) -> Self {
        Self { step, texts: BTreeMap::new(), star: None, double_star: None, ends: Vec::new() }
    }

    fn text(&self) -> &[char] {
        match &self.step {
            Step::Text(text) => text,
            Step::Star(_) => &[],
        }
    }

    /// Whether the star that leads here takes `c` in.
    fn absorbs(&self, c: char) -> bool {
        matches!(self.step, Step::Star(star) if absorbs(star, c))
    }

    fn stars(&self) -> impl Iterator<Item = NodeAt> {
        self.star.into_iter().chain(self.double_star)
    }
}

fn absorbs(star: Piece, c: char) -> bool {
    match star {
        Piece::Char(_) => false,
        Piece::Star => !SEPARATORS.contains(&c),
        Piece::DoubleStar => true,
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::after(Step::Text(Box::default()))] }
    }
}

impl<T: Copy> Tree<T> {
    fn node(&self, at: NodeAt) -> &Node<T> {
        &self.nodes[at as usize]
    }

    pub(super) fn insert(&mut self, mut pieces: &[Piece], of: T) {
        let mut at = 0;
        while let Some(first) = pieces.first() {
            match first {
                Piece::Char(_) => {
                    let text: Vec<char> = pieces
                        .iter()
                        .map_while(|piece| match piece {
                            Piece::Char(c) => Some(*c),
                            _ => None,
                        })
                        .collect();
                    pieces = &pieces[text.len()..];
                    at = self.text(at, &text);
                }
                star => {
                    at = self.star(at, *star);
                    pieces = &pieces[1..];
                }
            }
        }
        self.nodes[at as usize].ends.push(of);
    }

    fn add(&mut self, node: Node<T>) -> NodeAt {
        let at = NodeAt::try_from(self.nodes.len()).expect("fewer patterns than memory has bytes");
        self.nodes.push(node);
        at
    }

    fn star(&mut self, above: NodeAt, star: Piece) -> NodeAt {
        let node = self.node(above);
        let known = if star == Piece::DoubleStar { node.double_star } else { node.star };
        if let Some(known) = known {
            return known;
        }
        let added = self.add(Node::after(Step::Star(star)));
        let node = &mut self.nodes[above as usize];
        *if star == Piece::DoubleStar { &mut node.double_star } else { &mut node.star } = Some(added);
        added
    }

    /// The node after `text`, which is not empty, below `above`.
    fn text(&mut self, mut above: NodeAt, mut text: &[char]) -> NodeAt {
        while let Some(first) = text.first() {
            let Some(&below) = self.node(above).texts.get(first) else {
                let added = self.add(Node::after(Step::Text(text.into())));
                self.nodes[above as usize].texts.insert(*first, added);
                return added;
            };
            let known = self.node(below).text();
            let shared = known.iter().zip(text).take_while(|(a, b)| a == b).count();
            above = if shared == known.len() { below } else { self.split(above, below, shared) };
            text = &text[shared..];
        }
        above
    }

    /// Puts a node between the two, after the first `shared` characters of the lower one's text.
    fn split(&mut self, above: NodeAt, below: NodeAt, shared: usize) -> NodeAt {
        let (head, tail): (Box<[char]>, Box<[char]>) = {
            let (head, tail) = self.node(below).text().split_at(shared);
            (head.into(), tail.into())
        };
        let (first, next) = (head[0], tail[0]);
        self.nodes[below as usize].step = Step::Text(tail);
        let mut between = Node::after(Step::Text(head));
        between.texts.insert(next, below);
        let between = self.add(between);
        self.nodes[above as usize].texts.insert(first, between);
        between
    }

    pub(super) fn matching(&self, value: &str, found: &mut impl FnMut(T)) {
        self.walk(0, value, &mut HashSet::new(), found);
    }

    /// Follows `rest` from the node `at`. A star is `seen` with each rest only once.
    fn walk(&self, at: NodeAt, rest: &str, seen: &mut HashSet<(NodeAt, usize)>, found: &mut impl FnMut(T)) {
        let node = self.node(at);
        if rest.is_empty() {
            node.ends.iter().copied().for_each(&mut *found);
        }
        let below = rest.chars().next().and_then(|first| node.texts.get(&first));
        if let Some(&below) = below {
            let mut chars = rest.chars();
            if self.node(below).text().iter().all(|expected| chars.next() == Some(*expected)) {
                self.walk(below, chars.as_str(), seen, found);
            }
        }
        for star in node.stars() {
            let mut chars = rest.chars();
            // What a star has been followed with before, it was followed with to its end.
            while seen.insert((star, chars.as_str().len())) {
                self.walk(star, chars.as_str(), seen, found);
                if !chars.next().is_some_and(|c| self.node(star).absorbs(c)) {
                    break;
                }
            }
        }
    }

    /// The patterns that share a value with the one of these pieces.
    pub(super) fn meet(&self, pieces: &[Piece], effort: usize) -> Option<Vec<T>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        // A node, how much of its text is behind, and how many of the pieces are.
        let mut open: Vec<(NodeAt, usize, usize)> = vec![(0, 0, 0)];
        while let Some(place) = open.pop() {
            if !seen.insert(place) {
                continue;
            }
            let (at, done, behind) = place;
            let node = self.node(at);
            if seen.len() + found.len() + node.ends.len() > effort {
                return None;
            }
            let piece = pieces.get(behind).copied();
            let star = piece.filter(|piece| piece.is_star());
            // Theirs may be over.
            open.extend(star.map(|_| (at, done, behind + 1)));
            if let Some(&next) = node.text().get(done) {
                match piece {
                    Some(Piece::Char(c)) if c == next => open.push((at, done + 1, behind + 1)),
                    Some(star) if absorbs(star, next) => open.push((at, done + 1, behind)),
                    _ => {}
                }
                continue;
            }
            match piece {
                None => found.extend_from_slice(&node.ends),
                Some(Piece::Char(c)) => {
                    open.extend(node.texts.get(&c).map(|below| (*below, 0, behind)));
                    open.extend(node.absorbs(c).then_some((at, done, behind + 1)));
                }
                Some(_) => open.extend(node.texts.values().map(|below| (*below, 0, behind))),
            }
            open.extend(node.stars().map(|star| (star, 0, behind)));
        }
        Some(found)
    }
}
