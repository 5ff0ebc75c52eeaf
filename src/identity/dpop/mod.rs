//! DPoP proofs (RFC 9449): that the caller holds the key to which its token is to be bound. Pure, but for
//! that whoever verified one must see to it that it is used once.

mod nonce;

use url::Url;

use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::digest::Digest;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::identity::assertion::SingleUse;
use crate::identity::claims::{MAX_JTI, date, string};
use crate::identity::error::ProofError;
use crate::identity::json::{Json, Object};
use crate::identity::jwks::VerificationKey;
use crate::identity::jws::Unverified;

pub use nonce::Nonces;

/// The greatest size of a DPoP proof, bytes: one by the largest RSA key that is taken has about 4 KiB.
const MAX_PROOF: usize = 8 * 1024;

/// How far back `iat` may lie. A proof is made for one request and sent at once; the rest is for slow
/// networks and clocks that run late. It bounds how long a proof that was caught before it arrived is good.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(60);

/// How far ahead `iat` may lie: for clocks that run fast. Small, for what is made ahead can be used later.
///
/// The record of `jti` is kept as much longer than the proof is good: brokers that share the record may
/// have clocks so far apart, and the later one would take a proof whose record has just ended.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(10);

/// The members of a JWK that only its owner may know (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The claims that RFC 9449 §4.2 adds to a JWT's, which no member may resemble without being it.
const CLAIM_NAMES: &[&str] = &["htm", "htu", "ath", "nonce"];

/// Verifies the proofs sent to one token endpoint. Shared by every request.
#[derive(Debug)]
pub struct Dpop {
    endpoint: Url,
    nonces: Option<Nonces>,
}

impl Dpop {
    /// `endpoint` is the token endpoint as clients know it. With `nonces` each proof must bring one.
    pub fn new(endpoint: Url, nonces: Option<Nonces>) -> Self {
        Self { endpoint, nonces }
    }

    /// What the next proof has to bring, where proofs need a nonce.
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.at(now))
    }

    /// Verifies the value of a request's only `DPoP` header by every check of RFC 9449 §4.3 that a token
    /// endpoint makes. The caller sees to it that the proof is used once.
    ///
    /// # Errors
    /// `dpop_nonce_required` for a proof that is right but for its nonce, `dpop_proof_invalid` for any other.
    pub fn verify(&self, proof: &str, now: Timestamp) -> Result<(Confirmation, SingleUse), ProofError> {
        if proof.len() > MAX_PROOF {
            return Err(invalid("the DPoP proof is over 8 KiB"));
        }
        let checked = self.check(proof, now).map_err(|error| match error.reason {
            Reason::DpopNonceRequired => error,
            // To its sender this is about one header, whatever a proof of identity would be refused for.
            _ => ProofError::new(Reason::DpopProofInvalid, error.detail),
        });
        let (thumbprint, jti, issued) = checked?;
        let single_use = SingleUse {
            // No agent's id begins with a zero byte, so no client assertion has this key.
            key: Digest::of_parts(&[b"\0dpop\0", &thumbprint.0.0, &[0], jti.as_bytes()]),
            until: issued + MAX_AGE + CLOCK_SKEW,
        };
        Ok((Confirmation::Jkt(thumbprint), single_use))
    }

    fn check(&self, proof: &str, now: Timestamp) -> Result<(Thumbprint, String, Timestamp), ProofError> {
        let jws = Unverified::parse_dpop(proof)?;
        let algorithm = jws.header.algorithm;
        let key = key(jws.header.jwk.as_ref())?;
        if !key.fits(algorithm) {
            return Err(invalid("alg is not one of the key in jwk"));
        }
        let thumbprint = key.thumbprint();
        let claims = jws.verified(|message, signature| key.verifies(algorithm, message, signature))?;
        if let Some(name) = claims.case_variant_of(CLAIM_NAMES) {
            return Err(invalid(format!("a claim of the DPoP proof differs from {name} by case alone")));
        }
        if string(&claims, "htm")? != "POST" {
            return Err(invalid("htm is not POST"));
        }
        if !self.is_endpoint(string(&claims, "htu")?) {
            return Err(invalid(format!("htu is not {}", self.endpoint)));
        }
        let issued = dates(&claims, now)?;
        let jti = string(&claims, "jti")?;
        if jti.is_empty() || jti.len() > MAX_JTI {
            return Err(invalid("jti must have 1 to 256 bytes"));
        }
        // Last: a client that is told to send the proof again with a nonce must not fail for another reason.
        self.check_nonce(&claims, now)?;
        Ok((thumbprint, jti.to_owned(), issued))
    }

    /// Whether `htu` is the token endpoint, normalised, without query and fragment (RFC 9449 §4.3 item 9).
    fn is_endpoint(&self, htu: &str) -> bool {
        let endpoint = &self.endpoint;
        // `Url` reads as browsers do: it drops spaces and line ends, turns `\` into `/`, and does not mind how
        // many slashes follow the scheme. RFC 3986 knows none of that.
        let is_plain = htu.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && htu.split_once("://").is_some_and(|(scheme, rest)| {
                scheme.eq_ignore_ascii_case(endpoint.scheme()) && !rest.starts_with('/')
            });
        let Some(url) = is_plain.then(|| Url::parse(htu).ok()).flatten() else { return false };
        url.scheme() == endpoint.scheme()
            && url.username().is_empty()
            && url.password().is_none()
            && url.host() == endpoint.host()
            && url.port_or_known_default() == endpoint.port_or_known_default()
            && url.path() == endpoint.path()
    }

    fn check_nonce(&self, claims: &Object, now: Timestamp) -> Result<(), ProofError> {
        let Some(nonces) = &self.nonces else { return Ok(()) };
        let wanted = |detail: &'static str| Err(ProofError::new(Reason::DpopNonceRequired, detail));
        match claims.get("nonce") {
            Some(Json::String(nonce)) if nonces.accept(nonce, now) => Ok(()),
            Some(Json::String(_)) => {
                wanted("the nonce is not of this broker, or old; DPoP-Nonce has the next")
            }
            Some(_) => Err(invalid("nonce must be a string")),
            None => wanted("sign the proof again with the nonce that DPoP-Nonce has"),
        }
    }
}

/// The public key that the proof brings.
fn key(jwk: Option<&Object>) -> Result<VerificationKey, ProofError> {
    let jwk = jwk.ok_or_else(|| invalid("the header has no jwk"))?;
    if PRIVATE.iter().any(|member| jwk.get(member).is_some()) {
        return Err(invalid(
            "jwk holds a private or symmetric key: it is known to others now, make a new one",
        ));
    }
    VerificationKey::embedded(jwk).ok_or_else(|| {
        invalid("jwk is not a public key for signatures: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519")
    })
}

/// `iat`, which must be of now. `exp` and `nbf` need not be there, and hold where they are (RFC 7519 §4.1).
fn dates(claims: &Object, now: Timestamp) -> Result<Timestamp, ProofError> {
    let issued = date(claims, "iat")?.ok_or_else(|| invalid("the DPoP proof has no iat"))?;
    if now.since(issued) > MAX_AGE {
        return Err(invalid(
            "iat is over 60 seconds back: sign a new proof for each call, and compare the clocks",
        ));
    }
    if issued > now + CLOCK_SKEW {
        return Err(invalid("iat is over 10 seconds ahead: compare the clocks"));
    }
    if date(claims, "exp")?.is_some_and(|expires| now >= expires + CLOCK_SKEW) {
        return Err(invalid("exp is past"));
    }
    if date(claims, "nbf")?.is_some_and(|start| start > now + CLOCK_SKEW) {
        return Err(invalid("nbf is in the future"));
    }
    Ok(issued)
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> ProofError {
    ProofError::new(Reason::DpopProofInvalid, detail)
}

#[cfg(test)]
mod tests;
