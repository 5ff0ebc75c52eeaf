//! What GitHub and GitLab have in common: refs, and workflow files at a ref.

use super::Claims;
use crate::domain::pattern::ClaimPattern;

/// How a forge names what nobody has reviewed yet.
pub(super) struct Unreviewed {
    /// A pattern of their refs.
    pub(super) refs: &'static str,
    /// What they are, one of them.
    pub(super) word: &'static str,
}

impl Unreviewed {
    /// Judges a claim that holds a whole ref.
    pub(super) fn check_ref(&self, claims: &Claims<'_>, claim: &str, pattern: &ClaimPattern) {
        if super::overlaps(pattern, self.refs) {
            claims.refuse(
                claim,
                format!("matches the ref of a {}, whose code nobody has reviewed", self.word),
                "write the ref of a protected branch, such as refs/heads/main",
            );
        } else if !pattern.is_exact() && "refs/heads/".starts_with(pattern.prefix()) {
            claims.warn(
                claim,
                "any branch matches, also one that was made a minute ago",
                "write the ref of a protected branch, such as refs/heads/main",
            );
        }
    }

    /// Judges a claim that names a file at a ref, `owner/repository/path@ref`: whoever may choose the ref
    /// chooses what the file says.
    pub(super) fn check_pinned(&self, claims: &Claims<'_>, claim: &str) {
        let Some(pattern) = claims.pattern(claim) else { return };
        let text = pattern.as_str();
        match text.rsplit_once('@') {
            // `**` takes in an `@` too, and so a ref before the last.
            Some((file, at)) if !at.contains('*') && !at.is_empty() && !file.contains("**") => {
                if file.contains('*') {
                    let problem = "a star in the file's path matches files that others add";
                    claims.warn(claim, problem, "write the whole path");
                }
                if let Ok(at) = at.parse::<ClaimPattern>() {
                    self.check_ref(claims, claim, &at);
                }
            }
            _ => {
                let file = text.split('@').next().filter(|file| !file.contains('*'));
                let file = file.unwrap_or("<owner>/<repository>/<path>");
                claims.refuse(
                    claim,
                    "is not pinned to a ref, so that any branch's version of the file matches",
                    format!("write {claim} = \"{file}@refs/heads/main\""),
                );
            }
        }
    }
}
