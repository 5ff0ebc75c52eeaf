//! What patterns of both kinds must look like.

/// More than this is not a policy that a person can review.
pub(super) const MAX_LEN: usize = 512;

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

/// Checks what holds for every pattern.
pub(super) fn check(text: &str) -> Result<(), InvalidPattern> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(InvalidPattern::Length);
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidPattern::Control);
    }
    if text.contains("***") {
        return Err(InvalidPattern::Stars);
    }
    Ok(())
}
