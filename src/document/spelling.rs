//! Which known word somebody meant.

/// The candidate that `word` most likely stands for, if one is near enough to say so.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether `word` is another word than `known`, but so near to it that it is likely a slip.
pub fn is_near(word: &str, known: &str, slips: usize) -> bool {
    (1..=slips).contains(&distance(word, known))
}

/// Letters to add, drop, change or swap with their neighbour (optimal string alignment), any case alike.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| text.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (fold(a), fold(b));
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["purpose", "owner", "max_ttl", "identity"];
        assert_eq!(nearest("purpsoe", known), Some("purpose"));
        assert_eq!(nearest("max-ttl", known), Some("max_ttl"));
        assert_eq!(nearest("Owner", known), Some("owner"));
        assert_eq!(nearest("colour", known), None);
        assert!(is_near("GTE", "GET", 1) && !is_near("GET", "GET", 1) && !is_near("LIST", "POST", 1));
    }
}
