//! The signing keys of a broker: the ring that signs and verifies, and its rotation.

mod sealed;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::domain::guardrails::MAX_TOKEN_LIFETIME;
use crate::domain::random::{NoRandomness, Random};
use crate::domain::signing::{KeyPurpose, SealedKey, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::token::claims::{Claims, UnreleasedToken};
use crate::token::crypto::install_crypto;
use crate::token::key::{self, Key, OperatorKey};
use crate::token::rotation::{self, Schedule};
use crate::token::seal::KeyEncryptionKey;
use crate::token::settings::TokenSettings;
use crate::token::verify::{MAX_TOKEN_LENGTH, TokenError, VerifiedTokens, in_force};
pub use sealed::checkpoint_key;
use sealed::{open_checkpoint, open_key, seal};

/// What a key or a signature failed by. Names keys by `kid` alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the signing key {kid} cannot be unsealed: it was sealed under another key-encryption key, or its \
         record was changed; give the key that this store was made with (`store.key_encryption_key_file` or \
         the environment); where that key is lost, `hallpass serve --new-signing-keys` goes on with new signing keys"
    )]
    Unseal { kid: String },
    #[error("the record of the signing key {kid} does not hold the key that it names; restore the store")]
    Mismatch { kid: String },
    #[error("`token.algorithm` is RS256 and no RSA key is given; give its PEM file")]
    RsaKeyMissing,
    #[error("an RSA key is given and `token.algorithm` is {0}; write RS256 or leave the key out")]
    RsaKeyUnused(SigningAlgorithm),
    #[error("the RSA key of `[token]` cannot be used: {0}")]
    RsaKey(&'static str),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("no key can sign")]
    NoSigner,
    #[error("signing failed")]
    Signature,
    #[error("the token would be over 16 KiB; ask for less, or register fewer and wider patterns")]
    TokenTooLarge,
    #[error("the token would outlive the longest life of a token")]
    TokenTooLong,
}

/// What is due: to be stored durably, then [adopted](KeyRing::adopt).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A key to be published ahead.
    pub add: Option<SealedKey>,
    /// The `kid` of each key whose last token is dead.
    pub remove: Vec<String>,
    /// The `kid` of the key that began to sign since the last rotation was adopted.
    pub signs: Option<String>,
}

impl Rotation {
    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.add.is_none() && self.remove.is_empty() && self.signs.is_none()
    }
}

/// A key that tokens are verified with, without any of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    pub kid: String,
    pub algorithm: SigningAlgorithm,
    pub signs_from: Timestamp,
    /// Whether tokens are signed with it now.
    pub signs: bool,
}

/// One generation of the ring.
struct Keys {
    /// In the order of `signs_from`, then of `kid`.
    keys: Vec<Arc<Key>>,
    jwks: Arc<str>,
    /// By these keys.
    verified: VerifiedTokens,
    /// The key that the caller was last told of as signing.
    told: Option<String>,
}

impl Keys {
    fn new(mut keys: Vec<Arc<Key>>, told: Option<String>, verified_memory: u64) -> Self {
        keys.sort_by(|a, b| (a.signs_from, &a.kid).cmp(&(b.signs_from, &b.kid)));
        keys.dedup_by(|a, b| a.kid == b.kid);
        let jwks: Vec<&str> = keys.iter().map(|key| key.jwk.as_str()).collect();
        let jwks = format!(r#"{{"keys":[{}]}}"#, jwks.join(","));
        Self { keys, jwks: jwks.into(), verified: VerifiedTokens::new(verified_memory), told }
    }
}

/// Signs and verifies access tokens. Every method reads one generation of the keys without waiting.
pub struct KeyRing {
    schedule: Schedule,
    operator: Option<OperatorKey>,
    kek: KeyEncryptionKey,
    random: Random,
    keys: ArcSwap<Keys>,
    checkpoint: Ed25519KeyPair,
    /// Bytes.
    verified_memory: u64,
}

impl KeyRing {
    /// Unseals what the store has; makes a key where none signs or none of the configured algorithm is
    /// there, and the checkpoint key where there is none. The new records that it returns must be durable
    /// before anything is signed.
    pub fn open(
        settings: TokenSettings,
        kek: KeyEncryptionKey,
        records: Vec<SealedKey>,
        random: Random,
        now: Timestamp,
    ) -> Result<(Self, Vec<SealedKey>), KeyError> {
        install_crypto();
        let operator = operator_key(&settings, &random)?;
        let schedule = Schedule {
            algorithm: settings.algorithm,
            operator_kid: operator.as_ref().map(|key| key.kid.clone()),
            rotate_every: settings.rotate_every,
            publish_ahead: settings.publish_ahead,
        };
        let (tokens, checkpoints): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.purpose == KeyPurpose::Token);
        let verified_memory = settings.verified_memory;
        let mut made = Vec::new();
        let checkpoint = open_checkpoint(checkpoints, &kek, &random, now, &mut made)?;
        let keys: Result<Vec<_>, _> =
            tokens.iter().map(|record| open_key(record, &kek, operator.as_ref(), &random)).collect();
        let keys = ArcSwap::from_pointee(Keys::new(keys?, None, verified_memory));
        let ring = Self { schedule, operator, kek, random, keys, checkpoint, verified_memory };
        let first = Rotation { add: ring.next_key(now)?, ..Rotation::default() };
        made.extend(first.add.clone());
        ring.adopt(first)?;
        let signs = ring.begun(now);
        ring.adopt(Rotation { signs, ..Rotation::default() })?;
        Ok((ring, made))
    }

    /// What is due now. The caller stores `add` durably, then calls [`Self::adopt`], then removes.
    pub fn due(&self, now: Timestamp) -> Result<Rotation, KeyError> {
        let remove = rotation::dead(&self.keys.load().keys, now).map(|key| key.kid.clone()).collect();
        Ok(Rotation { add: self.next_key(now)?, remove, signs: self.begun(now) })
    }

    /// The `kid` of each key for tokens in it.
    pub fn kids(&self) -> Vec<String> {
        self.keys.load().keys.iter().map(|key| key.kid.clone()).collect()
    }

    /// Takes over the keys of the store, which other nodes rotate too. Says whether there was news.
    pub fn learn(&self, records: &[SealedKey]) -> Result<bool, KeyError> {
        let records = records.iter().filter(|record| record.purpose == KeyPurpose::Token);
        let present = self.keys.load();
        let mut is_news = false;
        let mut keys = Vec::new();
        for record in records {
            match present.keys.iter().find(|key| key.kid == record.kid) {
                Some(known) => keys.push(Arc::clone(known)),
                None => {
                    is_news = true;
                    keys.push(open_key(record, &self.kek, self.operator.as_ref(), &self.random)?);
                }
            }
        }
        if is_news || keys.len() != present.keys.len() {
            self.keys.store(Arc::new(Keys::new(keys, present.told.clone(), self.verified_memory)));
            is_news = true;
        }
        Ok(is_news)
    }

    /// A secret of the installation that every node makes alike, for this use alone.
    pub fn shared_secret(&self, r#use: &str) -> Zeroizing<[u8; 32]> {
        self.kek.derive(r#use)
    }

    /// Makes `rotation` the truth of this ring.
    pub fn adopt(&self, rotation: Rotation) -> Result<(), KeyError> {
        if rotation.is_empty() {
            return Ok(());
        }
        let added = match &rotation.add {
            Some(record) => Some(open_key(record, &self.kek, self.operator.as_ref(), &self.random)?),
            None => None,
        };
        self.keys.rcu(|present| {
            let kept = present.keys.iter().filter(|key| !rotation.remove.contains(&key.kid));
            let told = rotation.signs.as_ref().or(present.told.as_ref());
            Keys::new(kept.chain(&added).cloned().collect(), told.cloned(), self.verified_memory)
        });
        Ok(())
    }

    /// Signs `claims` with the newest key whose time has come (RFC 9068 §2.1, RFC 7515 §5.1).
    pub fn sign(&self, claims: &Claims, now: Timestamp) -> Result<UnreleasedToken, KeyError> {
        // A key is kept for as long as this after its last signature.
        if Timestamp::from(claims.exp) > now + MAX_TOKEN_LIFETIME {
            return Err(KeyError::TokenTooLong);
        }
        let keys = self.keys.load();
        let key = rotation::signer(&keys.keys, now).ok_or(KeyError::NoSigner)?;
        let private = key.private.as_ref().ok_or(KeyError::NoSigner)?;
        let json = serde_json::to_vec(claims).map_err(|_| KeyError::Signature)?;
        // Header, claims and the longest signature, of RSA with 4096 bits; so nothing is copied in growing.
        let room = key.header.len() + json.len().div_ceil(3) * 4 + 2 + 684;
        let mut token = Zeroizing::new(String::with_capacity(room));
        token.push_str(&key.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&json, &mut token);
        let signature =
            jsonwebtoken::crypto::sign(token.as_bytes(), private.encoding_key(), key.jwt_algorithm());
        let signature = Zeroizing::new(signature.map_err(|_| KeyError::Signature)?);
        token.push('.');
        token.push_str(&signature);
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(KeyError::TokenTooLarge);
        }
        Ok(UnreleasedToken::new(token, claims.jti))
    }

    /// The claims of `token`, if it is ours, of `issuer`, and alive at `now`: what introspection and checks
    /// ask first. Whether it was revoked is asked of `revocation`.
    pub fn verify(&self, token: &str, issuer: &str, now: Timestamp) -> Result<Arc<Claims>, TokenError> {
        let claims = self.issued(token, issuer)?;
        in_force(&claims, now).map(|()| claims)
    }

    /// The claims of `token`, if it is ours and of `issuer`, whenever it lives: what RFC 7009 asks.
    pub fn issued(&self, token: &str, issuer: &str) -> Result<Arc<Claims>, TokenError> {
        let keys = self.keys.load();
        keys.verified.claims(&keys.keys, token, issuer)
    }

    /// Frees the memory of verified tokens that are dead at `now`.
    pub fn forget_dead(&self, now: Timestamp) {
        self.keys.load().verified.forget_dead(now);
    }

    /// How many verified tokens are remembered, and for how many bytes they count.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, u64) {
        self.keys.load().verified.held()
    }

    /// The JWK set (RFC 7517 §5) of every key that may still verify or will sign.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.keys.load().jwks)
    }

    /// The algorithms of the published keys.
    pub fn algorithms(&self) -> BTreeSet<SigningAlgorithm> {
        self.keys.load().keys.iter().map(|key| key.algorithm).collect()
    }

    /// The keys for tokens, the oldest first, and when another one begins to sign.
    pub fn schedule(&self, now: Timestamp) -> (Vec<PublishedKey>, Option<Timestamp>) {
        let keys = self.keys.load();
        let signer = rotation::signer(&keys.keys, now).map(|key| &key.kid);
        let published = keys.keys.iter().map(|key| PublishedKey {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            signs_from: key.signs_from,
            signs: Some(&key.kid) == signer,
        });
        (published.collect(), rotation::next_change(&keys.keys, &self.schedule, now))
    }

    /// The `kid` of the key that signs at `now`.
    #[cfg(test)]
    pub(super) fn signing_kid(&self, now: Timestamp) -> Option<String> {
        rotation::signer(&self.keys.load().keys, now).map(|key| key.kid.clone())
    }

    /// How long the key that signs at `now` has been signing.
    pub fn age(&self, now: Timestamp) -> Duration {
        let keys = self.keys.load();
        rotation::signer(&keys.keys, now).map_or(Duration::ZERO, |key| now.since(key.signs_from))
    }

    /// The Ed25519 key that signs checkpoints of the audit log. Never rotated.
    pub fn checkpoint_key(&self) -> &Ed25519KeyPair {
        &self.checkpoint
    }

    fn begun(&self, now: Timestamp) -> Option<String> {
        let keys = self.keys.load();
        let signing = rotation::signer(&keys.keys, now)?;
        (keys.told.as_ref() != Some(&signing.kid)).then(|| signing.kid.clone())
    }

    fn next_key(&self, now: Timestamp) -> Result<Option<SealedKey>, KeyError> {
        let Some(signs_from) = rotation::next_start(&self.keys.load().keys, &self.schedule, now) else {
            return Ok(None);
        };
        let (kid, secret) = match (self.schedule.algorithm, &self.operator) {
            (SigningAlgorithm::Es256, _) => key::generate_p256(&self.random)?,
            (SigningAlgorithm::EdDsa, _) => key::generate_ed25519(&self.random)?,
            // The private half stays in the operator's file; the public one is for the tokens it leaves.
            (SigningAlgorithm::Rs256, Some(operator)) => {
                (operator.kid.clone(), Zeroizing::new(operator.public.members().as_bytes().to_vec()))
            }
            (SigningAlgorithm::Rs256, None) => return Err(KeyError::RsaKeyMissing),
        };
        let algorithm = self.schedule.algorithm;
        seal(KeyPurpose::Token, algorithm, kid, &secret, (now, signs_from), &self.kek, &self.random).map(Some)
    }
}

fn operator_key(settings: &TokenSettings, random: &Random) -> Result<Option<OperatorKey>, KeyError> {
    match (settings.algorithm, &settings.rsa_key) {
        (SigningAlgorithm::Rs256, Some(pem)) => {
            OperatorKey::from_pem(pem.expose_secret(), random).map(Some).map_err(KeyError::RsaKey)
        }
        (SigningAlgorithm::Rs256, None) => Err(KeyError::RsaKeyMissing),
        (_, None) => Ok(None),
        (algorithm, Some(_)) => Err(KeyError::RsaKeyUnused(algorithm)),
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys.load().keys).finish_non_exhaustive()
    }
}
