//! The cryptography of the `jsonwebtoken` crate, over ring alone.
//!
//! There is no HMAC: a token signed with a shared secret can neither be made nor verified, whatever
//! its header says. Private keys are parsed once and registered; the [`EncodingKey`] holds a handle,
//! because jsonwebtoken would parse the key's bytes at every signature.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{self as contract, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::error::Unspecified;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};

use crate::domain::random::Random;

/// Makes ring the cryptography of every `jsonwebtoken` call of this process. Idempotent; `main` and
/// the tests' support call it, and so does a key ring that is opened.
pub fn install_crypto() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: new_signer,
        verifier_factory: new_verifier,
        key_utils: KeyUtils {
            rsa_pub_components_from_private_key: |_| Err(unsupported()),
            rsa_pub_components_from_public_key: |_| Err(unsupported()),
            ec_pub_components_from_private_key: |_, _| Err(unsupported()),
            ed_pub_components_from_private_key: |_, _| Err(unsupported()),
            compute_digest,
        },
    };
    // The second call finds the first one's provider, which is the same.
    let _installed = PROVIDER.install_default();
}

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

fn compute_digest(data: &[u8], hash: ThumbprintHash) -> Result<Vec<u8>, Error> {
    let algorithm = match hash {
        ThumbprintHash::SHA256 => &ring::digest::SHA256,
        ThumbprintHash::SHA384 => &ring::digest::SHA384,
        ThumbprintHash::SHA512 => &ring::digest::SHA512,
        _ => return Err(unsupported()),
    };
    Ok(ring::digest::digest(algorithm, data).as_ref().to_vec())
}

/// A parsed private key with the randomness that its signatures need.
pub enum KeyPair {
    Es256(EcdsaKeyPair, Random),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>, Random),
}

impl KeyPair {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Es256(..) => Algorithm::ES256,
            Self::EdDsa(_) => Algorithm::EdDSA,
            Self::Rs256(..) => Algorithm::RS256,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::Es256(pair, random) => Ok(pair.sign(random.source(), message)?.as_ref().to_vec()),
            Self::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rs256(pair, random) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, random.source(), message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// The registered keys by handle. Read at every signature, replaced at a rotation.
static REGISTERED: LazyLock<ArcSwap<HashMap<[u8; 8], Arc<KeyPair>>>> = LazyLock::new(ArcSwap::default);
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(0);

/// A private key that jsonwebtoken can sign with for as long as this lives.
pub struct RegisteredKey {
    handle: [u8; 8],
    encoding: EncodingKey,
}

impl RegisteredKey {
    pub fn new(pair: KeyPair) -> Self {
        let handle = NEXT_HANDLE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let encoding = match &pair {
            KeyPair::Es256(..) => EncodingKey::from_ec_der(&handle),
            KeyPair::EdDsa(_) => EncodingKey::from_ed_der(&handle),
            KeyPair::Rs256(..) => EncodingKey::from_rsa_der(&handle),
        };
        let pair = Arc::new(pair);
        REGISTERED.rcu(|keys| {
            let mut keys = HashMap::clone(keys);
            keys.insert(handle, Arc::clone(&pair));
            keys
        });
        Self { handle, encoding }
    }

    /// The handle, as `jsonwebtoken::encode` takes it.
    pub fn encoding_key(&self) -> &EncodingKey {
        &self.encoding
    }
}

impl Drop for RegisteredKey {
    fn drop(&mut self) {
        REGISTERED.rcu(|keys| {
            let mut keys = HashMap::clone(keys);
            keys.remove(&self.handle);
            keys
        });
    }
}

impl std::fmt::Debug for RegisteredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegisteredKey([redacted])")
    }
}

struct RingSigner(Arc<KeyPair>);

fn new_signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let handle: [u8; 8] = key.as_bytes().try_into().map_err(|_| new_error(ErrorKind::InvalidKeyFormat))?;
    let keys = REGISTERED.load();
    let pair = keys.get(&handle).ok_or_else(|| new_error(ErrorKind::InvalidKeyFormat))?;
    if pair.algorithm() != *algorithm {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(Box::new(RingSigner(Arc::clone(pair))))
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, contract::Error> {
        self.0.sign(message).map_err(|_| contract::Error::new())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn new_verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() || key.family() == AlgorithmFamily::Hmac {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

/// RSA under 2048 bits never verifies.
fn rsa(algorithm: Algorithm) -> Result<&'static signature::RsaParameters, Unspecified> {
    match algorithm {
        Algorithm::RS256 => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Ok(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Ok(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Ok(&signature::RSA_PSS_2048_8192_SHA512),
        _ => Err(Unspecified),
    }
}

fn verification(algorithm: Algorithm) -> Result<&'static dyn signature::VerificationAlgorithm, Unspecified> {
    match algorithm {
        Algorithm::ES256 => Ok(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Ok(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Ok(&signature::ED25519),
        other => Ok(rsa(other)?),
    }
}

impl RingVerifier {
    fn check(&self, message: &[u8], signed: &[u8]) -> Result<(), Unspecified> {
        match self.key.kind() {
            DecodingKeyKind::SecretOrDer(key) => {
                signature::UnparsedPublicKey::new(verification(self.algorithm)?, key).verify(message, signed)
            }
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                signature::RsaPublicKeyComponents { n, e }.verify(rsa(self.algorithm)?, message, signed)
            }
        }
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), contract::Error> {
        self.check(message, signed).map_err(|_| contract::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
