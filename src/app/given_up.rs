//! What the operator says is lost for good.

/// A start without it would free whoever is stopped, or kill every token. So a broker refuses to go on without what is
/// lost, unless its operator says so for this one start.
#[derive(Debug, Clone, Copy, Default)]
pub struct GivenUp {
    /// The database: a new one is made where it is gone.
    pub store: bool,
    /// The signing keys that the key-encryption key cannot open: they are dropped, and new ones are made.
    pub signing_keys: bool,
}
