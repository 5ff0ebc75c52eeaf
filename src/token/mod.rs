//! Access tokens (RFC 9068): their claims, their signature, the check of it, and the life of the keys.
//!
//! A key signs only when its record is durable, is published before it signs, and stays published
//! until the last token that it signed is dead. A token verifies only if its header is, byte for byte,
//! one that a published key writes. `broker` calls [`keyring::KeyRing`] and nothing below it.

pub mod claims;
pub mod crypto;
mod key;
pub mod keyring;
mod rotation;
pub mod seal;
pub mod settings;
mod verify;

pub use claims::{AccessToken, Claims, Subject, UnreleasedToken};
pub use crypto::install_crypto;
pub use key::check_rsa_key;
pub use keyring::{KeyError, KeyRing, PublishedKey, Rotation, checkpoint_key};
pub use seal::{InvalidKeyEncryptionKey, KeyEncryptionKey};
pub use verify::{MAX_TOKEN_LENGTH, TokenError};

#[cfg(test)]
mod tests;
