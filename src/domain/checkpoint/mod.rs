//! Checkpoints of the audit log: its size and root, signed, in a form that other tools read.
//!
//! The text is a C2SP tlog-checkpoint in a C2SP signed note with one Ed25519 signature. Whoever keeps
//! one can show later that the log was shortened or rewritten. Parsing takes the one spelling that
//! [`Checkpoint::sign`] writes, and further signature lines of other keys, which it skips.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::domain::digest::Digest;

/// The signature type of Ed25519 in a signed note.
const ED25519_TYPE: u8 = 0x01;

/// No checkpoint is longer; what is, is not read.
const MAX_NOTE: usize = 64 * 1024;

/// What the log was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is the name of its verifier key too.
    pub origin: String,
    /// How many events it covers.
    pub size: u64,
    /// Their Merkle tree hash.
    pub root: Digest,
}

/// Why a text is not a checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("not a signed checkpoint: {0}")]
    Malformed(&'static str),
    #[error("no signature of the key {0}")]
    NotSigned(String),
    #[error("the signature is not the key's")]
    BadSignature,
    #[error("the checkpoint is of the log {found}, not of {expected}")]
    OtherLog { found: String, expected: String },
}

/// The public half of a checkpoint key, with its name: `name+hex(key id)+base64(0x01 ‖ public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

/// A text that is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier key such as name+1a2b3c4d+AbCd…: {0}")]
pub struct InvalidVerifierKey(&'static str);

/// A signed note's key name: not empty, without white space and without a plus.
fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = Digest::of_parts(&[name.as_bytes(), b"\n", &[ED25519_TYPE], public]).0;
    [a, b, c, d]
}

impl VerifierKey {
    /// # Errors
    /// When the name is empty or holds white space or a plus.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, InvalidVerifierKey> {
        if !is_key_name(name) {
            return Err(InvalidVerifierKey("its name is empty or holds white space or a plus"));
        }
        Ok(Self { name: name.to_owned(), public })
    }

    /// The verifier of what `key` signs for the log `name`.
    ///
    /// # Errors
    /// When `name` cannot stand in a signed note: empty, or with white space or `+`.
    pub fn of(name: &str, key: &Ed25519KeyPair) -> Result<Self, InvalidVerifierKey> {
        let public = key.public_key().as_ref().try_into();
        Self::new(name, public.map_err(|_| InvalidVerifierKey("an Ed25519 key has 32 bytes"))?)
    }

    /// The log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The log's name and the short hash of its key: no two logs have the same.
    pub fn id(&self) -> String {
        format!("{}+{:08x}", self.name, u32::from_be_bytes(key_id(&self.name, &self.public)))
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = [ED25519_TYPE; 33];
        typed[1..].copy_from_slice(&self.public);
        write!(f, "{}+{}", self.id(), STANDARD.encode(typed))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidVerifierKey;
    fn from_str(text: &str) -> Result<Self, InvalidVerifierKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidVerifierKey("it has not three parts"));
        };
        let typed = STANDARD.decode(key).map_err(|_| InvalidVerifierKey("its key is not base64"))?;
        let Some((&ED25519_TYPE, public)) = typed.split_first() else {
            return Err(InvalidVerifierKey("its key is not of Ed25519"));
        };
        let public = public.try_into().map_err(|_| InvalidVerifierKey("its key is not 32 bytes long"))?;
        let key = Self::new(name, public)?;
        if id != format!("{:08x}", u32::from_be_bytes(key_id(name, &key.public))) {
            return Err(InvalidVerifierKey("its id is not that of its name and key"));
        }
        Ok(key)
    }
}

impl Checkpoint {
    /// The three lines that are signed.
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// The signed note. The key's name is the origin.
    pub fn sign(&self, key: &Ed25519KeyPair) -> String {
        let body = self.body();
        let signature = key.sign(body.as_bytes());
        let mut signed = key_id(&self.origin, key.public_key().as_ref()).to_vec();
        signed.extend_from_slice(signature.as_ref());
        format!("{body}\n— {} {}\n", self.origin, STANDARD.encode(signed))
    }

    fn parse(body: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed("its body is not origin, size and root, a line each");
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed);
        };
        let number: Option<u64> = size.parse().ok().filter(|n: &u64| n.to_string() == size);
        let size = number.ok_or(CheckpointError::Malformed("its size is not a plain number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = Digest(root.ok_or(CheckpointError::Malformed("its root is not base64 of 32 bytes"))?);
        if !is_key_name(origin) {
            return Err(CheckpointError::Malformed("its origin is not the name of a key"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// Checks the key's signature on a note and gives what it says.
///
/// # Errors
/// When the note is spelled otherwise than the specification has it, lacks a signature of `key`,
/// carries one that is wrong, or is of another log.
pub fn verify(note: &str, key: &VerifierKey) -> Result<Checkpoint, CheckpointError> {
    if note.len() > MAX_NOTE {
        return Err(CheckpointError::Malformed("it is too long"));
    }
    if note.contains(|c: char| c.is_control() && c != '\n') {
        return Err(CheckpointError::Malformed("it holds control characters"));
    }
    let at = note.rfind("\n\n").ok_or(CheckpointError::Malformed("it has no signature"))?;
    let (body, signatures) = (&note[..=at], &note[at + 2..]);
    let signatures =
        signatures.strip_suffix('\n').ok_or(CheckpointError::Malformed("its last line has no end"))?;
    let checkpoint = Checkpoint::parse(body)?;
    let mut signed = false;
    for line in signatures.split('\n') {
        signed |= signature_holds(line, body, key)?;
    }
    if !signed {
        return Err(CheckpointError::NotSigned(key.to_string()));
    }
    if checkpoint.origin != key.name {
        let (found, expected) = (checkpoint.origin, key.name.clone());
        return Err(CheckpointError::OtherLog { found, expected });
    }
    Ok(checkpoint)
}

/// Whether the line is a good signature of `key`; false when it is another key's.
fn signature_holds(line: &str, body: &str, key: &VerifierKey) -> Result<bool, CheckpointError> {
    let malformed = CheckpointError::Malformed("a signature line is not `— name base64`");
    let (name, encoded) =
        line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(malformed.clone())?;
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed.clone())?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed.clone())?;
    if !is_key_name(name) || signature.is_empty() {
        return Err(malformed);
    }
    if name != key.name || *id != key_id(&key.name, &key.public) {
        return Ok(false);
    }
    UnparsedPublicKey::new(&ED25519, &key.public)
        .verify(body.as_bytes(), signature)
        .map_err(|_| CheckpointError::BadSignature)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
