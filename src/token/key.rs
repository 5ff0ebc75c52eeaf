//! One signing key: made, parsed, published as a JWK, used.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivateKeyDer;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::domain::digest::Digest;
use crate::domain::pem::{self, PemError};
use crate::domain::random::{NoRandomness, Random};
use crate::domain::signing::{SealedKey, SigningAlgorithm};
use crate::domain::time::Timestamp;
use crate::token::crypto::{KeyPair, RegisteredKey};

/// RSA keys that are shorter are refused.
const MIN_RSA_BITS: usize = 2048;

/// Key bytes that are no key of the algorithm.
#[derive(Debug)]
pub(super) struct Rejected;

/// The public half, as the members that RFC 7638 hashes, in its order: `{"crv":"P-256",…}`.
#[derive(Clone)]
pub(super) struct PublicHalf {
    members: String,
    decoding: DecodingKey,
}

impl PublicHalf {
    fn ec(point: &[u8]) -> Result<Self, Rejected> {
        let (x, y) = point.get(1..65).ok_or(Rejected)?.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(Self { members, decoding: DecodingKey::from_ec_der(point) })
    }

    pub(super) fn ed(point: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(point);
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self { members, decoding: DecodingKey::from_ed_der(point) }
    }

    fn rsa(pair: &RsaKeyPair) -> Self {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        let (n64, e64) = (URL_SAFE_NO_PAD.encode(&n), URL_SAFE_NO_PAD.encode(&e));
        let members = format!(r#"{{"e":"{e64}","kty":"RSA","n":"{n64}"}}"#);
        Self { members, decoding: DecodingKey::from_rsa_raw_components(&n, &e) }
    }

    /// From [`Self::members`] of an RSA key: all that is kept of a key that the operator holds.
    pub(super) fn rsa_members(members: &[u8]) -> Result<Self, Rejected> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            e: String,
            #[serde(rename = "kty")]
            _kty: String,
            n: String,
        }
        let Members { e, n, .. } = serde_json::from_slice(members).map_err(|_| Rejected)?;
        let decoding = DecodingKey::from_rsa_components(&n, &e).map_err(|_| Rejected)?;
        let members = std::str::from_utf8(members).map_err(|_| Rejected)?.to_owned();
        Ok(Self { members, decoding })
    }

    /// The RFC 7638 thumbprint, base64url.
    pub(super) fn kid(&self) -> String {
        URL_SAFE_NO_PAD.encode(Digest::of(self.members.as_bytes()).0)
    }

    pub(super) fn members(&self) -> &str {
        &self.members
    }
}

/// The `kid` and the PKCS#8 of a new key.
pub(super) type Generated = Result<(String, Zeroizing<Vec<u8>>), NoRandomness>;

pub(super) fn generate_p256(random: &Random) -> Generated {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random.source());
    let pkcs8 = Zeroizing::new(document.map_err(|_| NoRandomness)?.as_ref().to_vec());
    let (_, public) = parse_p256(&pkcs8, random).map_err(|_| NoRandomness)?;
    Ok((public.kid(), pkcs8))
}

pub(super) fn generate_ed25519(random: &Random) -> Generated {
    let document = Ed25519KeyPair::generate_pkcs8(random.source());
    let pkcs8 = Zeroizing::new(document.map_err(|_| NoRandomness)?.as_ref().to_vec());
    let (_, public) = parse_ed25519(&pkcs8).map_err(|_| NoRandomness)?;
    Ok((public.kid(), pkcs8))
}

/// An Ed25519 key of PKCS#8.
pub(super) fn parse_ed25519(pkcs8: &[u8]) -> Result<(Ed25519KeyPair, PublicHalf), Rejected> {
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| Rejected)?;
    let public = PublicHalf::ed(pair.public_key().as_ref());
    Ok((pair, public))
}

fn parse_p256(pkcs8: &[u8], random: &Random) -> Result<(EcdsaKeyPair, PublicHalf), Rejected> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, random.source());
    let pair = pair.map_err(|_| Rejected)?;
    let public = PublicHalf::ec(pair.public_key().as_ref())?;
    Ok((pair, public))
}

/// The RSA key that the operator gives with RS256.
#[derive(Clone)]
pub(super) struct OperatorKey {
    pub(super) public: PublicHalf,
    pub(super) kid: String,
    private: Arc<RegisteredKey>,
}

impl OperatorKey {
    /// From PKCS#8 or PKCS#1 PEM. The error says what to give instead.
    pub(super) fn from_pem(pem: &str, random: &Random) -> Result<Self, &'static str> {
        let pair = rsa(pem)?;
        let public = PublicHalf::rsa(&pair);
        let kid = public.kid();
        let private = RegisteredKey::new(KeyPair::Rs256(Box::new(pair), random.clone()));
        Ok(Self { public, kid, private: Arc::new(private) })
    }
}

/// Whether a file can be `token.rsa_key_file`.
///
/// # Errors
/// What to give instead.
pub fn check_rsa_key(pem: &str) -> Result<(), &'static str> {
    rsa(pem).map(drop)
}

fn rsa(pem: &str) -> Result<RsaKeyPair, &'static str> {
    let mut der = pem::private_key(pem.as_bytes()).map_err(|error| match error {
        PemError::Joined(_) | PemError::Glued(_) => "its PEM has lost its line breaks",
        PemError::Encrypted => "its private key has a passphrase; write it without one with `openssl pkey`",
        _ => "it holds no PEM private key; give an unencrypted PKCS#8 or PKCS#1 PEM",
    })?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err("it holds no RSA key; RS256 signs with RSA of 2048 bits or more"),
    };
    der.zeroize();
    let pair = pair.map_err(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => "its RSA key is under 2048 bits",
        "TooLarge" => "its RSA key is over 4096 bits",
        "WrongAlgorithm" => "it holds no RSA key; RS256 signs with RSA of 2048 bits or more",
        _ => "its RSA key is damaged or of an odd length; give one of 2048, 3072 or 4096 bits",
    })?;
    // ring lets one bit fewer pass.
    let RsaPublicKeyComponents { n, e: _ } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let unused = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if n.len() * 8 - unused < MIN_RSA_BITS {
        return Err("its RSA key is under 2048 bits");
    }
    Ok(pair)
}

/// One key of the ring, with everything made ready that a signature or its check needs.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) signs_from: Timestamp,
    /// The first part of every token of this key, encoded; no other header is accepted for it.
    pub(super) header: String,
    /// With `kid`, `use` and `alg`.
    pub(super) jwk: String,
    pub(super) decoding: DecodingKey,
    /// None for an RSA key that the operator has replaced: it verifies what it signed.
    pub(super) private: Option<Arc<RegisteredKey>>,
}

impl Key {
    /// The key in `record`, whose secret was unsealed. Of RS256 only the public half was sealed.
    pub(super) fn open(
        record: &SealedKey,
        secret: &[u8],
        operator: Option<&OperatorKey>,
        random: &Random,
    ) -> Result<Self, Rejected> {
        let (public, private) = match record.algorithm {
            SigningAlgorithm::Es256 => {
                let (pair, public) = parse_p256(secret, random)?;
                (public, Some(Arc::new(RegisteredKey::new(KeyPair::Es256(pair, random.clone())))))
            }
            SigningAlgorithm::EdDsa => {
                let (pair, public) = parse_ed25519(secret)?;
                (public, Some(Arc::new(RegisteredKey::new(KeyPair::EdDsa(pair)))))
            }
            SigningAlgorithm::Rs256 => {
                let private =
                    operator.filter(|key| key.kid == record.kid).map(|key| Arc::clone(&key.private));
                (PublicHalf::rsa_members(secret)?, private)
            }
        };
        if public.kid() != record.kid {
            return Err(Rejected);
        }
        let (kid, algorithm) = (record.kid.clone(), record.algorithm);
        let header =
            URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"at+jwt","alg":"{algorithm}","kid":"{kid}"}}"#));
        let members = public.members.trim_end_matches('}');
        let jwk = format!(r#"{members},"kid":"{kid}","use":"sig","alg":"{algorithm}"}}"#);
        let (signs_from, decoding) = (record.signs_from, public.decoding);
        Ok(Self { kid, algorithm, signs_from, header, jwk, decoding, private })
    }

    pub(super) fn jwt_algorithm(&self) -> Algorithm {
        match self.algorithm {
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::EdDsa => Algorithm::EdDSA,
            SigningAlgorithm::Rs256 => Algorithm::RS256,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {} from {})", self.kid, self.algorithm, self.signs_from)
    }
}
