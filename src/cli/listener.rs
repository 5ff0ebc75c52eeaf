//! The two listeners of a broker, and thereby who asks: an agent has other ways on than an operator.

/// Which listener a command speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Agents ask it for tokens.
    Public,
    /// Operators ask it with their key.
    Admin,
}

impl Listener {
    /// The flag and the variable that name its address.
    pub const fn named_by(self) -> &'static str {
        match self {
            Self::Public => "--url or HALLPASS_URL",
            Self::Admin => "--admin-url or HALLPASS_ADMIN_URL",
        }
    }
}
