//! What is not as it should be, in words for an operator.

/// One part of a broker that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// Which part, and what is wrong with it.
    pub what: String,
    /// What the operator does about it.
    pub remedy: &'static str,
}

impl Degraded {
    pub fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self { what: what.into(), remedy }
    }
}
