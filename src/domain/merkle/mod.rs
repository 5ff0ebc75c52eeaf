//! The Merkle tree of the audit log (RFC 6962 §2.1): one hash that stands for every event in order.
//!
//! [`Frontier`] is what a writer keeps: the roots of the perfect subtrees on the left edge, enough to
//! append in O(log n). Proofs are made over any source of perfect inner nodes and checked by anyone
//! who holds a root. Leaves are counted from 0 here; an event's `seq` is its leaf index plus one.

use crate::domain::digest::Digest;

/// Inner nodes are kept at every eighth level, so that any node is made of at most 256 others.
pub const TILE_HEIGHT: u32 = 8;

/// The hash of one leaf: SHA-256 of 0x00 ‖ bytes.
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    Digest::of_parts(&[&[0x00], bytes])
}

/// The hash of an inner node: SHA-256 of 0x01 ‖ left ‖ right.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[0x01], &left.0, &right.0])
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// A perfect subtree: the leaves `index << level` up to `(index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its height; 0 is a leaf.
    pub level: u32,
    pub index: u64,
}

/// An index or size that the tree does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has no such event or size")]
pub struct OutOfRange;

/// A tree that can grow: its size and the roots of its perfect subtrees, the widest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of `size` leaves; `None` unless there is one peak for each bit of `size`.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The first leaf of each peak and the one after its last, in the order of `peaks`.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let size = self.size;
        let mut start = 0;
        (0..u64::BITS).rev().filter(move |level| size >> level & 1 == 1).map(move |level| {
            let first = start;
            start += 1 << level;
            (first, start)
        })
    }

    pub fn append(&mut self, leaf: Digest) {
        self.append_with(leaf, |_, _| {});
    }

    /// Appends a leaf and tells `completed` of each inner node that it completes, from the lowest.
    pub fn append_with(&mut self, leaf: Digest, mut completed: impl FnMut(Node, &Digest)) {
        let mut hash = leaf;
        for level in 0..self.size.trailing_ones() {
            // A set bit of `size` is a peak, and `from_parts` and this function keep one for each.
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            completed(Node { level: level + 1, index: self.size >> (level + 1) }, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The Merkle tree hash of all leaves.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The widest perfect subtree that is narrower than `n` leaves, for `n` over 1.
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The hash of the leaves from `start` up to `end`, of perfect subtrees alone. `start` is where such a
/// range begins in the recursion of RFC 6962, so that every part of it is aligned.
fn range_root<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let n = end - start;
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return node(Node { level, index: start >> level });
    }
    let middle = start + split(n);
    let left = range_root(start, middle, node)?;
    Ok(node_hash(&left, &range_root(middle, end, node)?))
}

/// The root of the first `size` leaves, from a source that holds at least as many.
pub fn root_of<E>(size: u64, mut node: impl FnMut(Node) -> Result<Digest, E>) -> Result<Digest, E> {
    if size == 0 { Ok(empty_root()) } else { range_root(0, size, &mut node) }
}

/// The audit path of a leaf in the tree of the first `size` leaves (RFC 6962 §2.1.1), lowest first.
pub fn inclusion_proof<E: From<OutOfRange>>(
    index: u64,
    size: u64,
    mut node: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if index >= size {
        return Err(OutOfRange.into());
    }
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_root(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, &mut node)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the first `first` leaves of the tree of `second` leaves are the tree of `first`
/// (RFC 6962 §2.1.2). Empty when the sizes are equal.
pub fn consistency_proof<E: From<OutOfRange>>(
    first: u64,
    second: u64,
    mut node: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if first == 0 || first > second {
        return Err(OutOfRange.into());
    }
    let (mut start, mut end, mut path) = (0, second, Vec::new());
    while end != first {
        let middle = start + split(end - start);
        if first <= middle {
            path.push(range_root(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, &mut node)?);
            start = middle;
        }
    }
    // The old tree's last subtree; where it is the whole old tree, the reader holds its root already.
    if start != 0 {
        path.push(range_root(start, end, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that the leaf hash `leaf` stands at `index` in the tree of `size` leaves with
/// this root (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(leaf: &Digest, index: u64, size: u64, path: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree of `second` leaves extends the tree of `first` (RFC 9162
/// §2.1.4.2).
pub fn verify_consistency(
    (first, first_root): (u64, &Digest),
    (second, second_root): (u64, &Digest),
    path: &[Digest],
) -> bool {
    if first == second {
        return path.is_empty() && first_root == second_root;
    }
    if first == 0 || first > second {
        return false;
    }
    let known = first.is_power_of_two().then_some(first_root);
    let mut path = known.into_iter().chain(path);
    let Some(seed) = path.next() else { return false };
    let shift = (first - 1).trailing_ones();
    let (mut node, mut last) = ((first - 1) >> shift, (second - 1) >> shift);
    let (mut old, mut new) = (*seed, *seed);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *first_root && new == *second_root
}

#[cfg(test)]
mod tests;
