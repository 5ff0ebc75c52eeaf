//! `[token]`, after `config` has checked it.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::signing::SigningAlgorithm;

#[derive(Debug, Clone)]
pub struct TokenSettings {
    pub algorithm: SigningAlgorithm,
    /// PKCS#8 or PKCS#1 PEM, given with RS256 and with nothing else.
    pub rsa_key: Option<SecretString>,
    /// A new key signs this often; longer than `publish_ahead`.
    pub rotate_every: Duration,
    /// The next key is published this long before it signs, so that every verifier has it;
    /// at least as long as the JWK set may be cached, never zero.
    pub publish_ahead: Duration,
    /// What verified tokens may take of memory, bytes.
    pub verified_memory: u64,
}
