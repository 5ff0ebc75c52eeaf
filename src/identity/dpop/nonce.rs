//! Nonces of a server (RFC 9449 §8) that need no memory: each is the HMAC of the time it was given in.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::domain::random::{NoRandomness, Random};
use crate::domain::time::Timestamp;

/// Seconds. A nonce is good in the window it was given in and in the next, so for one to two minutes:
/// always long enough for a proof that is made with it at once.
const WINDOW: i64 = 60;

/// Gives and recognises the nonces of this broker, until it ends, or of the brokers that share a key.
pub struct Nonces(hmac::Key);

impl Nonces {
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn new(random: &Random) -> Result<Self, NoRandomness> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &random.bytes::<32>()?)))
    }

    /// Of a key that several brokers share, so that each accepts what another gave.
    pub fn of_key(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The nonce to give at `now`: the same for everybody, and to be guessed by nobody.
    pub(super) fn at(&self, now: Timestamp) -> String {
        self.of(window(now))
    }

    pub(super) fn accept(&self, nonce: &str, now: Timestamp) -> bool {
        let window = window(now);
        [window, window - 1]
            .into_iter()
            .any(|window| self.of(window).as_bytes().ct_eq(nonce.as_bytes()).into())
    }

    fn of(&self, window: i64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &window.to_be_bytes()))
    }
}

fn window(at: Timestamp) -> i64 {
    at.seconds().div_euclid(WINDOW)
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces([redacted])")
    }
}
