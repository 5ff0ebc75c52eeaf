//! JWK sets (RFC 7517) and the keys in them that may verify a proof.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use crate::domain::confirmation::Thumbprint;
use crate::domain::curve::{BadPoint, check_ed25519, check_p256, check_p384};
use crate::domain::digest::Digest;
use crate::domain::key::PublicKey;
use crate::identity::json::{Json, Object};
use crate::identity::settings::ProofAlgorithm;

/// The most keys that one set may hold; the largest in the wild have about a dozen.
const MAX_KEYS: usize = 128;

/// Why a document is not a JWK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadJwks {
    #[error("not a JWK set: JSON with an array `keys`")]
    NotASet,
    #[error("more than 128 keys")]
    TooMany,
    #[error("no key in it can be used, so the bundle at hand stays")]
    NoKeys,
    #[error("its spiffe_sequence is lower than that of the bundle at hand")]
    Older,
}

/// The usable keys of an issuer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<VerificationKey>,
}

/// What a token's header finds in a set.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// One or more, as nothing keeps an issuer from giving two keys one `kid`.
    Keys(Vec<&'a VerificationKey>),
    /// The key that `kid` names is not for this algorithm.
    WrongAlgorithm,
    /// No key of that `kid`; perhaps a newer set has it.
    Unknown,
    /// The header has no `kid`, and several keys would fit.
    Ambiguous,
}

/// A public key for signatures, its form checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerificationKey {
    kid: Option<String>,
    /// The only algorithm it may be used with, where the set says so.
    algorithm: Option<ProofAlgorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points (SEC 1 §2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The members that decide. `d` is looked for, never kept.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    /// The members that decide, where each is of its type. Whoever asks has looked for private ones.
    fn embedded(jwk: &Object) -> Option<Self> {
        let text = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Json::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        let key_ops = match jwk.get("key_ops") {
            None => None,
            Some(Json::Array(ops)) => Some(
                ops.iter()
                    .map(|op| match op {
                        Json::String(op) => Some(op.clone()),
                        _ => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            Some(_) => return None,
        };
        Some(Self {
            kty: text("kty")??,
            kid: None,
            alg: text("alg")?,
            usage: text("use")?,
            key_ops,
            crv: text("crv")?,
            n: text("n")?,
            e: text("e")?,
            x: text("x")?,
            y: text("y")?,
            d: None,
        })
    }
}

impl KeySet {
    /// Reads a set. A key that cannot be used is left out and the others serve (DESIGN §15).
    pub(super) fn parse(document: &[u8]) -> Result<Self, BadJwks> {
        let document: Document = serde_json::from_slice(document).map_err(|_| BadJwks::NotASet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(BadJwks::TooMany);
        }
        let keys = document
            .keys
            .into_iter()
            .filter_map(|key| VerificationKey::of(serde_json::from_value(key).ok()?));
        Ok(Self { keys: keys.collect() })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may have signed a token with this header.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: ProofAlgorithm) -> Found<'_> {
        let Some(kid) = kid else { return self.find_the_only(algorithm) };
        let named: Vec<_> = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).collect();
        if named.is_empty() {
            return Found::Unknown;
        }
        let fit: Vec<_> = named.into_iter().filter(|key| key.fits(algorithm)).collect();
        if fit.is_empty() { Found::WrongAlgorithm } else { Found::Keys(fit) }
    }

    /// A token may go without `kid` only where that is unambiguous (OpenID Connect Core 1.0 §10.1).
    fn find_the_only(&self, algorithm: ProofAlgorithm) -> Found<'_> {
        let fit: Vec<_> = self.keys.iter().filter(|key| key.fits(algorithm)).collect();
        match fit.len() {
            0 => Found::Unknown,
            1 => Found::Keys(fit),
            _ => Found::Ambiguous,
        }
    }
}

impl VerificationKey {
    /// A key that an agent is registered with; `None` if its form is wrong. Whoever read the agent's file has checked
    /// that it is a good point ([`PublicKey::check`]).
    pub(super) fn registered(key: &PublicKey) -> Option<Self> {
        let material = match key.kty.as_str() {
            "EC" => Material::elliptic(&key.crv, &key.x, key.y.as_deref()?)?,
            "OKP" => Material::edwards(&key.crv, &key.x)?,
            _ => return None,
        };
        Some(Self { kid: None, algorithm: None, material })
    }

    /// A good key of the algorithm's kind that is nobody's: the base point of the curve, whose private key is one.
    /// None for RSA, whose keys no agent is registered with.
    pub(super) fn nobodys(algorithm: ProofAlgorithm) -> Option<Self> {
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
    pub(super) fn embedded(jwk: &Object) -> Option<Self> {
        Jwk::embedded(jwk).and_then(Self::of)
    }

    /// The key's name by its own content (RFC 7638 §3, RFC 8037 §2), however its JWK was written.
    pub(super) fn thumbprint(&self) -> Thumbprint {
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

    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.usage.is_some_and(|usage| usage != "sig")
            || jwk.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
            // Whoever publishes the private half has lost the key.
            || jwk.d.is_some()
        {
            return None;
        }
        let material = match jwk.kty.as_str() {
            "RSA" => Material::rsa(&jwk.n?, &jwk.e?)?,
            "EC" => Material::elliptic(&jwk.crv?, &jwk.x?, &jwk.y?)?,
            "OKP" => Material::edwards(&jwk.crv?, &jwk.x?)?,
            _ => return None,
        };
        material.check().ok()?;
        let algorithm = match jwk.alg {
            None => None,
            Some(alg) => Some(ProofAlgorithm::named(&alg)?),
        };
        let key = Self { kid: jwk.kid, algorithm, material };
        algorithm.is_none_or(|algorithm| key.fits(algorithm)).then_some(key)
    }

    /// Whether the key is of the algorithm's kind, and not bound to another.
    pub(super) fn fits(&self, algorithm: ProofAlgorithm) -> bool {
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
    pub(super) fn verifies(&self, algorithm: ProofAlgorithm, message: &[u8], signature: &[u8]) -> bool {
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
    fn check(&self) -> Result<(), BadPoint> {
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

#[cfg(test)]
mod tests;
