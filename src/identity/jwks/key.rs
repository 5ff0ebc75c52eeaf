//! One public key: what it is made of, and the signatures that it verifies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

use super::jwk::Jwk;
use crate::domain::confirmation::Thumbprint;
use crate::domain::curve::{BadPoint, check_ed25519, check_p256, check_p384};
use crate::domain::digest::Digest;
use crate::domain::key::PublicKey;
use crate::identity::json::Object;
use crate::identity::settings::ProofAlgorithm;

/// A public key for signatures, its form checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct VerificationKey {
    pub(super) kid: Option<String>,
    /// The only algorithm it may be used with, where the set says so.
    algorithm: Option<ProofAlgorithm>,
    pub(super) material: Material,
}

/// Why a key cannot verify a signature here, in words of hallpass alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Unusable {
    /// It is for something else, or of a kind that is not verified here.
    Other(&'static str),
    /// It should have been usable.
    Broken(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points (SEC 1 §2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl VerificationKey {
    /// A key that an agent is registered with; `None` if its form is wrong. Whoever read the agent's file has checked
    /// that it is a good point ([`PublicKey::check`]).
    pub(in crate::identity) fn registered(key: &PublicKey) -> Option<Self> {
        let material = match key.kty.as_str() {
            "EC" => Material::elliptic(&key.crv, &key.x, key.y.as_deref()?)?,
            "OKP" => Material::edwards(&key.crv, &key.x)?,
            _ => return None,
        };
        Some(Self { kid: None, algorithm: None, material })
    }

    /// A good key of the algorithm's kind that is nobody's: the base point of the curve, whose private key is one.
    /// None for RSA, whose keys no agent is registered with.
    pub(in crate::identity) fn nobodys(algorithm: ProofAlgorithm) -> Option<Self> {
        let material = match algorithm {
            ProofAlgorithm::Es256 => Material::elliptic(
                "P-256",
                "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            ),
            ProofAlgorithm::Es384 => Material::elliptic(
                "P-384",
                "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
                "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f",
            ),
            ProofAlgorithm::EdDsa => {
                Material::edwards("Ed25519", "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY")
            }
            _ => None,
        };
        material.map(|material| Self { kid: None, algorithm: None, material })
    }

    /// The public key that a proof brings; `None` if it is not one, or not for signatures.
    pub(in crate::identity) fn embedded(jwk: &Object) -> Option<Self> {
        Jwk::embedded(jwk).and_then(|jwk| Self::of(jwk).ok())
    }

    /// The key's name by its own content (RFC 7638 §3, RFC 8037 §2), however its JWK was written.
    pub(in crate::identity) fn thumbprint(&self) -> Thumbprint {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |crv: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y))
        };
        let members = match &self.material {
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
            Material::P256(bytes) => point("P-256", bytes),
            Material::P384(bytes) => point("P-384", bytes),
            Material::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
        };
        Thumbprint(Digest::of(members.as_bytes()))
    }

    /// # Errors
    /// Why it cannot verify anything.
    pub(super) fn of(jwk: Jwk) -> Result<Self, Unusable> {
        use Unusable::{Broken, Other};
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return Err(Other("its use is not sig"));
        }
        if jwk.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err(Other("its key_ops do not have verify"));
        }
        // Whoever publishes the private half has lost the key.
        if jwk.d.is_some() {
            return Err(Broken("it has d, its private half: it is known to others now"));
        }
        let crv = jwk.crv.as_deref();
        let material = match jwk.kty.as_str() {
            "RSA" => jwk.n.zip(jwk.e).and_then(|(n, e)| Material::rsa(&n, &e)).ok_or(Broken(
                "its n and e are not those of an RSA key of 2048 to 8192 bits, in base64url",
            ))?,
            "EC" if matches!(crv, Some("P-256" | "P-384")) => crv
                .zip(jwk.x.as_deref().zip(jwk.y.as_deref()))
                .and_then(|(crv, (x, y))| Material::elliptic(crv, x, y))
                .ok_or(Broken("its x and y are not coordinates of the curve's length, in base64url"))?,
            "OKP" if crv == Some("Ed25519") => jwk
                .x
                .and_then(|x| Material::edwards("Ed25519", &x))
                .ok_or(Broken("its x is not 32 bytes in base64url"))?,
            "EC" | "OKP" => return Err(Other("its crv is not P-256, P-384 or Ed25519")),
            _ => return Err(Other("its kty is not RSA, EC or OKP")),
        };
        material.check().map_err(|_| Broken("its point is not one that can be anybody's key"))?;
        let algorithm = match jwk.alg {
            None => None,
            Some(alg) => {
                Some(ProofAlgorithm::named(&alg).ok_or(Other("its alg is not one that hallpass verifies"))?)
            }
        };
        let key = Self { kid: jwk.kid, algorithm, material };
        if algorithm.is_none_or(|algorithm| key.fits(algorithm)) {
            Ok(key)
        } else {
            Err(Broken("its alg is not for keys of its kty and crv"))
        }
    }

    /// Whether the key is of the algorithm's kind, and not bound to another.
    pub(in crate::identity) fn fits(&self, algorithm: ProofAlgorithm) -> bool {
        use ProofAlgorithm as A;
        let kind = match &self.material {
            Material::Rsa { .. } => {
                matches!(algorithm, A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512)
            }
            Material::P256(_) => algorithm == A::Es256,
            Material::P384(_) => algorithm == A::Es384,
            Material::Ed25519(_) => algorithm == A::EdDsa,
        };
        kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether `signature` over `message` is this key's, by `algorithm`.
    pub(in crate::identity) fn verifies(
        &self,
        algorithm: ProofAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        use ProofAlgorithm as A;
        if !self.fits(algorithm) {
            return false;
        }
        let plain = |by: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(by, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::P256(point) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => plain(&signature::ED25519, point),
            Material::Rsa { n, e } => {
                let by = match algorithm {
                    A::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    A::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    A::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    A::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    A::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    A::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    A::Es256 | A::Es384 | A::EdDsa => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(by, message, signature).is_ok()
            }
        }
    }
}

impl Material {
    /// 2048 to 8192 bits, which is what ring verifies with; `e` odd and at least 3.
    fn rsa(n: &str, e: &str) -> Option<Self> {
        let (n, e) = (magnitude(n)?, magnitude(e)?);
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let sane_exponent = e.len() <= 5 && e.last()? % 2 == 1 && e != [1];
        ((2048..=8192).contains(&bits) && sane_exponent).then_some(Self::Rsa { n, e })
    }

    fn elliptic(crv: &str, x: &str, y: &str) -> Option<Self> {
        let (x, y) = (bytes(x)?, bytes(y)?);
        let point = [&[4][..], &x, &y].concat();
        match (crv, x.len(), y.len()) {
            ("P-256", 32, 32) => Some(Self::P256(point)),
            ("P-384", 48, 48) => Some(Self::P384(point)),
            _ => None,
        }
    }

    /// Whether a point can be anybody's key.
    pub(super) fn check(&self) -> Result<(), BadPoint> {
        match self {
            Self::Rsa { .. } => Ok(()),
            Self::P256(point) => check_p256(&point[1..33], &point[33..]),
            Self::P384(point) => check_p384(&point[1..49], &point[49..]),
            Self::Ed25519(point) => check_ed25519(point),
        }
    }

    fn edwards(crv: &str, x: &str) -> Option<Self> {
        let x = bytes(x)?;
        (crv == "Ed25519" && x.len() == 32).then_some(Self::Ed25519(x))
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A Base64urlUInt (RFC 7518 §2) without the leading zeros that some issuers write and ring refuses.
fn magnitude(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}
