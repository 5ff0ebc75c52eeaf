//! A mistake in a file that a person wrote: where it is, what is wrong, what to write instead.

use std::fmt;
use std::path::PathBuf;

/// One mistake. Prints as `file:line: key: what is wrong; what to write`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub file: PathBuf,
    /// 1-based; `None` when the mistake is of the whole file.
    pub line: Option<usize>,
    /// The dotted key, such as `identity[0].issuer`; empty when the mistake has none.
    pub key: String,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}; {}", self.problem, self.remedy)
    }
}
