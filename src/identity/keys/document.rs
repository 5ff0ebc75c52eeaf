//! What an issuer publishes: a JWK set, or the bundle of a trust domain.

use std::time::Duration;

use rustls::pki_types::TrustAnchor;

use crate::domain::time::Timestamp;
use crate::identity::jwks::{BadJwks, KeySet, LeftOut};

/// What is published, and read whole or not at all.
pub(in crate::identity) trait Document:
    std::fmt::Debug + PartialEq + Send + Sync + Sized + 'static
{
    fn parse(document: &[u8]) -> Result<Self, BadJwks>;

    /// How many keys in it can be used.
    fn count(&self) -> usize;

    /// The keys in it that cannot be used.
    fn left_out(&self) -> Vec<LeftOut>;

    /// Whether this may take the place of `held`.
    ///
    /// # Errors
    /// What is wrong with it.
    fn succeeds(&self, _held: &Self) -> Result<(), BadJwks> {
        Ok(())
    }

    /// When whoever publishes it wants it to be fetched again.
    fn refresh(&self) -> Option<Duration> {
        None
    }

    /// What vouches for the certificates of `domain` at `now`, where it publishes such.
    fn vouchers(&self, _domain: &str, _now: Timestamp) -> Vec<TrustAnchor<'static>> {
        Vec::new()
    }
}

impl Document for KeySet {
    fn parse(document: &[u8]) -> Result<Self, BadJwks> {
        Self::parse(document)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn left_out(&self) -> Vec<LeftOut> {
        Self::left_out(self).to_vec()
    }
}
