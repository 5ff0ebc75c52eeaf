//! Whom a proof claims to be of, before anybody has verified it.

use crate::domain::digest::Digest;
use crate::identity::jws::Unverified;

/// SHA-256 of what a proof says of its author. Refusals are counted by it; it is worth nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant(pub Digest);

impl Claimant {
    /// `iss` and `sub` of a JWT, where it has the form of one.
    pub fn of_jwt(text: &str) -> Option<Self> {
        let jws = Unverified::parse(text).ok()?;
        let name = |claim| jws.unverified_name(claim).unwrap_or_default();
        Some(Self(Digest::of_parts(&[name("iss").as_bytes(), &[0], name("sub").as_bytes()])))
    }

    /// A client certificate.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Digest::of(der))
    }
}
