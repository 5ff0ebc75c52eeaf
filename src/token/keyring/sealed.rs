//! Keys as the store has them: sealed, and opened to sign.

use std::sync::Arc;

use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use super::KeyError;
use crate::domain::random::Random;
use crate::domain::signing::{KeyPurpose, SealedKey, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::token::key::{self, Key, OperatorKey};
use crate::token::seal::KeyEncryptionKey;

fn unseal(record: &SealedKey, kek: &KeyEncryptionKey) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    kek.unseal(record).ok_or_else(|| KeyError::Unseal { kid: record.kid.clone() })
}

pub(super) fn open_key(
    record: &SealedKey,
    kek: &KeyEncryptionKey,
    operator: Option<&OperatorKey>,
    random: &Random,
) -> Result<Arc<Key>, KeyError> {
    let mismatch = |_| KeyError::Mismatch { kid: record.kid.clone() };
    Key::open(record, &unseal(record, kek)?, operator, random).map(Arc::new).map_err(mismatch)
}

/// The checkpoint key of the oldest record, or a new one, which goes to `made`. Every record is opened:
/// one that was changed to be passed over must not be.
pub(super) fn open_checkpoint(
    mut records: Vec<SealedKey>,
    kek: &KeyEncryptionKey,
    random: &Random,
    now: Timestamp,
    made: &mut Vec<SealedKey>,
) -> Result<Ed25519KeyPair, KeyError> {
    if records.is_empty() {
        let (kid, secret) = key::generate_ed25519(random)?;
        let (purpose, algorithm) = (KeyPurpose::Checkpoint, SigningAlgorithm::EdDsa);
        let record = seal(purpose, algorithm, kid, &secret, (now, now), kek, random)?;
        made.push(record.clone());
        records.push(record);
    }
    records.sort_by(|a, b| (a.created, &a.kid).cmp(&(b.created, &b.kid)));
    // All are opened, so that one which was tampered with is noticed even where an older one signs.
    let mut oldest = None;
    for record in &records {
        let pair = unseal_checkpoint(record, kek)?;
        oldest.get_or_insert(pair);
    }
    oldest.ok_or(KeyError::NoSigner)
}

fn unseal_checkpoint(record: &SealedKey, kek: &KeyEncryptionKey) -> Result<Ed25519KeyPair, KeyError> {
    let mismatch = || KeyError::Mismatch { kid: record.kid.clone() };
    let (pair, public) = key::parse_ed25519(&unseal(record, kek)?).map_err(|_| mismatch())?;
    if public.kid() == record.kid { Ok(pair) } else { Err(mismatch()) }
}

/// The key that signs checkpoints, of what a store has; `None` before a broker made it.
///
/// # Errors
/// When it cannot be unsealed.
pub fn checkpoint_key(
    records: &[SealedKey],
    kek: &KeyEncryptionKey,
) -> Result<Option<Ed25519KeyPair>, KeyError> {
    let records = records.iter().filter(|record| record.purpose == KeyPurpose::Checkpoint);
    let oldest = records.min_by_key(|record| (record.created, &record.kid));
    oldest.map(|record| unseal_checkpoint(record, kek)).transpose()
}

pub(super) fn seal(
    purpose: KeyPurpose,
    algorithm: SigningAlgorithm,
    kid: String,
    secret: &[u8],
    (created, signs_from): (Timestamp, Timestamp),
    kek: &KeyEncryptionKey,
    random: &Random,
) -> Result<SealedKey, KeyError> {
    let mut record = SealedKey { kid, purpose, algorithm, created, signs_from, sealed: Vec::new() };
    kek.seal(&mut record, secret, random)?;
    Ok(record)
}
