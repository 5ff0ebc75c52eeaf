//! Proof → [`VerifiedIdentity`], or nothing. The broker calls it before anything else.
//!
//! What it promises:
//!
//! - Only issuers named in the configuration are contacted. A token's `iss` picks one of them by
//!   comparison; no other part of a token, and nothing that a redirect says, chooses an address.
//! - A key verifies the tokens of the issuer that published it and no other's, whatever its `kid`.
//! - A signature by `none` or HMAC does not exist here; an issuer's tokens use the algorithms configured for it.
//! - Two readers of an accepted token read the same: one JSON reading, no repeated or case-varied
//!   members, one base64url text for each byte string.
//! - An error repeats nothing of what the caller sent.
//!
//! The path of a token: [`jws`] reads it, [`oidc`] chooses the issuer and asks [`keys`] (which
//! [`fetch`]es a [`jwks`]), and [`claims`] judges what the signature vouched for. [`assertion`] does
//! the same with registered keys. [`dpop`] checks another kind of proof: not who calls, but which key it holds.

pub mod settings;

mod assertion;
mod claims;
mod dpop;
mod error;
mod fetch;
mod json;
mod jwks;
mod jws;
mod keys;
mod oidc;

use std::sync::Arc;

use crate::domain::identity::VerifiedIdentity;
use crate::domain::key::PublicKey;
use crate::domain::time::Clock;
use crate::identity::settings::IssuerSettings;

pub use assertion::{SingleUse, UnverifiedAssertion};
pub use dpop::{Dpop, Nonces};
pub use error::{AuthenticatorError, ProofError};
pub use keys::IssuerStatus;

/// Checks proofs. Shared by every request.
#[derive(Debug)]
pub struct Authenticator {
    issuers: oidc::Issuers,
    our_issuer: String,
    clock: Clock,
}

impl Authenticator {
    /// `our_issuer` is the broker's public URL, the audience of client assertions. Reads `ca_file`s and
    /// `jwks_file`s and contacts nobody. Where an issuer is https, rustls's default provider must be installed.
    pub fn new(
        issuers: Vec<IssuerSettings>,
        our_issuer: String,
        clock: Clock,
    ) -> Result<Self, AuthenticatorError> {
        let issuers = oidc::Issuers::new(issuers, clock.clone())?;
        Ok(Self { issuers, our_issuer, clock })
    }

    /// Verifies an OIDC token: a `subject_token` (RFC 8693), or a JWT bearer `assertion` (RFC 7523 §2.1).
    /// May wait some seconds for the issuer's keys if they are not at hand.
    pub async fn oidc(&self, token: &str) -> Result<Arc<VerifiedIdentity>, ProofError> {
        self.issuers.authenticate(token).await
    }

    /// Verifies a `client_assertion` (RFC 7523 §2.2) by the keys registered for the agent that it names.
    /// The caller sees to it that it is used once.
    pub fn assertion(
        &self,
        assertion: &UnverifiedAssertion<'_>,
        keys: &[&PublicKey],
    ) -> Result<(VerifiedIdentity, SingleUse), ProofError> {
        assertion.verify(keys, &self.our_issuer, self.clock.now())
    }

    /// How each issuer's keys stand.
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.status()
    }
}
