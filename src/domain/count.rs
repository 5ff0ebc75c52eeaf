//! How many of something, as people say it.

/// `1 mistake`, `2 mistakes`: of a noun that takes an `s`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    // What is more than a u64 is many.
    let count = count.try_into().unwrap_or(u64::MAX);
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0_usize, 1, 2].map(|n| counted(n, "mistake")), ["0 mistakes", "1 mistake", "2 mistakes"]);
    }
}
