//! How private keys rest in the store: under AES-256-GCM, bound to what their record says of them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use secrecy::SecretString;
use zeroize::{Zeroize, Zeroizing};

use crate::domain::random::{NoRandomness, Random};
use crate::domain::signing::{KeyPurpose, SealedKey};

const LEN: usize = 32;

/// The key that seals the signing keys. Lives in a file of its own or in the environment, never beside
/// what it seals in the database.
pub struct KeyEncryptionKey([u8; LEN]);

/// A text that is no key-encryption key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyEncryptionKey {
    #[error("the key-encryption key is empty; write 32 random bytes as 64 hex digits or as base64url")]
    Empty,
    #[error(
        "the key-encryption key is {0} characters; write exactly 32 bytes: 64 hex digits or 43 of base64url"
    )]
    Length(usize),
    #[error("the key-encryption key is neither hex nor base64url; write 64 hex digits or 43 of base64url")]
    Encoding,
}

impl KeyEncryptionKey {
    /// From 64 hex digits or the base64url of exactly 32 bytes, with or without padding; white space
    /// around it (a file's last line feed) is no part of it.
    pub fn from_text(text: &str) -> Result<Self, InvalidKeyEncryptionKey> {
        let text = text.trim();
        let mut bytes = [0; LEN];
        match text.trim_end_matches('=') {
            "" => return Err(InvalidKeyEncryptionKey::Empty),
            hex if hex.len() == 2 * LEN => {
                for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
                    *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
                }
            }
            base64 if base64.len() == 43 => {
                let decoded = URL_SAFE_NO_PAD.decode(base64).map(Zeroizing::new);
                let decoded = decoded.map_err(|_| InvalidKeyEncryptionKey::Encoding)?;
                bytes.copy_from_slice(&decoded);
            }
            other => return Err(InvalidKeyEncryptionKey::Length(other.chars().count())),
        }
        Ok(Self(bytes))
    }

    pub fn generate(random: &Random) -> Result<Self, NoRandomness> {
        random.bytes().map(Self)
    }

    /// 43 characters of base64url, as [`Self::from_text`] reads them.
    pub fn to_text(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode(self.0).into()
    }

    /// Whether it is the key that sealed `record`.
    pub fn opens(&self, record: &SealedKey) -> bool {
        self.unseal(record).is_some()
    }

    /// Another key, for another use: HMAC-SHA-256 of its name.
    pub(super) fn derive(&self, r#use: &str) -> Zeroizing<[u8; LEN]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut derived = Zeroizing::new([0; LEN]);
        derived.copy_from_slice(hmac::sign(&key, r#use.as_bytes()).as_ref());
        derived
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &self.0).expect("32 bytes are the length of an AES-256 key"),
        )
    }

    /// Puts nonce ‖ ciphertext ‖ tag of `secret` into `record`.
    pub(super) fn seal(
        &self,
        record: &mut SealedKey,
        secret: &[u8],
        random: &Random,
    ) -> Result<(), NoRandomness> {
        let nonce: [u8; NONCE_LEN] = random.bytes()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret);
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(record)),
                &mut sealed[NONCE_LEN..],
            )
            .expect("a key is far below the length that AES-GCM can seal");
        sealed.extend_from_slice(tag.as_ref());
        record.sealed = sealed;
        Ok(())
    }

    /// The secret in `record`; none if it was sealed under another key or its record was changed.
    pub(super) fn unseal(&self, record: &SealedKey) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = record.sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let opened = self.cipher().open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated(record)),
            &mut secret,
        );
        let len = opened.ok()?.len();
        secret.truncate(len);
        Some(secret)
    }
}

/// What is authenticated with the key. Lines cannot be shifted into one another: their number is fixed.
fn associated(record: &SealedKey) -> Vec<u8> {
    let SealedKey { kid, purpose, algorithm, created, signs_from, sealed: _ } = record;
    let purpose = match purpose {
        KeyPurpose::Token => "token",
        KeyPurpose::Checkpoint => "checkpoint",
    };
    let (created, signs_from) = (created.millis(), signs_from.millis());
    format!("hallpass-key-v1\n{purpose}\n{algorithm}\n{kid}\n{created}\n{signs_from}").into_bytes()
}

fn hex_digit(digit: u8) -> Result<u8, InvalidKeyEncryptionKey> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(InvalidKeyEncryptionKey::Encoding),
    }
}

impl Drop for KeyEncryptionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey([redacted])")
    }
}
