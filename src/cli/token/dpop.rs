//! The proof of a key to which the token is to be bound (RFC 9449), made for one request.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::token::{jws, proof};
use crate::cli::{Host, Outcome};
use crate::domain::random::{NoRandomness, Random};
use crate::domain::time::Timestamp;

#[derive(Debug, Default, clap::Args)]
pub struct DpopArgs {
    /// Bind the token to the key in this file (RFC 9449): whoever uses it must sign a DPoP proof for each
    /// request with the same key. Make one with `hallpass keygen`; it is registered nowhere
    // Not `next_help_heading`, which goes on over the arguments of whoever flattens these.
    #[arg(long, value_name = "FILE", help_heading = "Binding")]
    dpop_key: Option<PathBuf>,
}

impl DpopArgs {
    /// # Errors
    /// When the file holds no Ed25519 key.
    pub fn key(&self, host: &mut Host<'_>) -> Outcome<Option<Ed25519KeyPair>> {
        let remedy = "make one with `hallpass keygen`";
        self.dpop_key.as_deref().map(|file| proof::ed25519(file, remedy, host)).transpose()
    }
}

/// A proof for one `POST` to `endpoint`, with the nonce that was asked for (RFC 9449 §4.2).
///
/// # Errors
/// When there are no random bytes for its `jti`.
pub fn sign(
    key: &Ed25519KeyPair,
    endpoint: &str,
    nonce: Option<&str>,
    now: Timestamp,
    random: &Random,
) -> Result<Zeroizing<String>, NoRandomness> {
    let public = URL_SAFE_NO_PAD.encode(key.public_key());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": public});
    let mut claims = json!({"htm": "POST", "htu": endpoint, "iat": now.seconds(), "jti": jws::id(random)?});
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    Ok(jws::sign(key, &json!({"alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk}), &claims))
}
