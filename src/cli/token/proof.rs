//! What proves this workload's identity, once it is read.

use std::fmt;
use std::path::Path;

use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivateKeyDer;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::certificate::Certificate;
use crate::cli::key_file::{self, Readers};
use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::AgentId;
use crate::domain::pem;

/// What proves an identity to the broker.
pub enum Proof {
    /// The subject token of an exchange (RFC 8693 §2.1).
    IdentityToken(SecretString),
    /// A JWT-SVID, as client authentication.
    JwtSvid(SecretString),
    /// An X.509-SVID, shown as the client certificate of TLS.
    Certificate(Certificate),
    /// A key that signs a client assertion (RFC 7523 §2.2).
    Key { agent: AgentId, key: Box<Ed25519KeyPair> },
}

/// A look that catches the wrong file here, where it can be named; the broker does the checking.
pub(super) fn identity_token(token: SecretString, place: &str) -> Outcome<Proof> {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let part = |part: &str| !part.is_empty() && part.bytes().all(base64url);
    let text = token.expose_secret();
    if text.split('.').count() == 3 && text.split('.').all(part) {
        return Ok(Proof::IdentityToken(token));
    }
    Err(Failure::failed(format!("{place} does not hold one JWT (three base64url parts with dots between)"))
        .remedy("give the OIDC token alone, without JSON, quotes or `Bearer` around it"))
}

/// A private key as `hallpass keygen` writes it.
///
/// # Errors
/// When the file cannot be read or holds something else, which `remedy` tells how to mend.
pub(super) fn ed25519(file: &Path, remedy: &str, host: &mut Host<'_>) -> Outcome<Ed25519KeyPair> {
    let pem = key_file::read(file, Readers::Owner, host)?;
    // In hallpass's words alone: those of a library may repeat the file.
    let unusable = |why: &dyn fmt::Display| {
        Failure::failed(format!("{} is not an Ed25519 key in PKCS#8 PEM: {why}", file.display()))
            .remedy(remedy)
    };
    let key = pem::private_key(pem.expose_secret().as_bytes())
        .map_err(|error| unusable(&format_args!("it {error}")))?;
    let PrivateKeyDer::Pkcs8(der) = &key else { return Err(unusable(&"it is of another form")) };
    // OpenSSL writes PKCS#8 without the public half; the broker finds out if it is not the registered one.
    let read = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
    read.map_err(|_| unusable(&"it is a key of another kind, or damaged"))
}
