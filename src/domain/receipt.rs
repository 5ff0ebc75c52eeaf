//! The proof that a token's event is durable: without it no token leaves the process.

use crate::domain::digest::Digest;

/// Given by the store when the event of a token is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    seq: u64,
    token_sha256: Digest,
}

impl Receipt {
    /// The event `seq` of the log is durable, and it is the issuance of the token of this SHA-256. The store alone makes
    /// one.
    pub fn of_durable(seq: u64, token_sha256: Digest) -> Self {
        Self { seq, token_sha256 }
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether it is the receipt of the token of this SHA-256.
    pub fn is_of(&self, token_sha256: Digest) -> bool {
        self.token_sha256 == token_sha256
    }
}
