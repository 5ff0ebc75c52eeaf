//! One segment of a path or ref: literals with `*` between them, compared in one pass.
//!
//! `str::find` is the two-way algorithm, whose time is linear in what it searches and what it searches for.
//! Each search begins where the last one ended, so each comparison takes time linear in both texts together,
//! however many stars there are.

/// Whether `glob` matches `text`. A `*` in `text` is a character like any other: no literal of a glob has one,
/// so only a star of `glob` can absorb it. Inclusion of globs is therefore this same comparison.
pub(super) fn absorbs(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == text };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(text) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
    // The first place where a literal fits leaves the most to those after it.
    let left = middle.split('*').try_fold(text, |left, literal| {
        let at = left.find(literal)?;
        Some(&left[at + literal.len()..])
    });
    left.is_some()
}

/// Whether some text is matched by both. Where each has a star, the stars take in whatever the other has in its
/// middle, so only the beginnings and the ends can contradict one another.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let (Some(from_a), Some(from_b)) = (ends(a), ends(b)) else {
        return if a.contains('*') { absorbs(a, b) } else { absorbs(b, a) };
    };
    let one_begins_with_the_other = from_a.0.starts_with(from_b.0) || from_b.0.starts_with(from_a.0);
    let one_ends_with_the_other = from_a.1.ends_with(from_b.1) || from_b.1.ends_with(from_a.1);
    one_begins_with_the_other && one_ends_with_the_other
}

/// What stands before the first star and after the last one.
fn ends(glob: &str) -> Option<(&str, &str)> {
    let (head, _) = glob.split_once('*')?;
    let (_, tail) = glob.rsplit_once('*')?;
    Some((head, tail))
}
