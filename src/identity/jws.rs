//! Compact JWS (RFC 7515 §7.1) carrying JWT claims (RFC 7519), read strictly.
//!
//! A parsed token is [`Unverified`] and shows what choosing a key needs; its claims come out of
//! [`Unverified::verified`] alone, which takes the check of the signature as an argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::reason::Reason;
use crate::identity::claims;
use crate::identity::error::ProofError;
use crate::identity::json::{BadJson, Json, Object};
use crate::identity::settings::ProofAlgorithm;

/// The greatest size of a proof, bytes (DESIGN §15).
pub(super) const MAX_TOKEN: usize = 16 * 1024;

/// Header parameters that name or carry a key elsewhere. None is ever followed; a proof that has one was
/// made to confuse somebody, and is refused.
const FOREIGN_KEYS: &[&str] = &["jku", "x5u", "x5c"];

/// Header names no member may resemble without being it.
const HEADER_NAMES: &[&str] = &["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t"];

/// Claim names no member may resemble without being it (RFC 7519 §4.1).
const CLAIM_NAMES: &[&str] = &["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Whose key verifies a JWS, which its header must be true to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The key is the issuer's or a registered one, found by configuration: the header brings none.
    Identity,
    /// The key comes with the proof (RFC 9449 §4.2), and proves to be held, nothing more.
    Dpop,
}

/// A well-formed token that nobody has vouched for yet.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// What the signature covers: the first two parts and the dot between.
    signed: &'a [u8],
    signature: Vec<u8>,
    pub(super) header: Header,
    claims: Object,
}

/// The header, as far as it may choose anything.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: ProofAlgorithm,
    pub(super) kid: Option<String>,
    /// The key that a DPoP proof brings; no other proof may.
    pub(super) jwk: Option<Object>,
}

impl<'a> Unverified<'a> {
    /// Reads a proof of identity: three parts of unpadded, canonical base64url, the first two each a JSON
    /// object, whose header brings no key.
    pub(super) fn parse(text: &'a str) -> Result<Self, ProofError> {
        Self::read(text, Kind::Identity)
    }

    /// As [`Self::parse`], for the header of a DPoP proof.
    pub(super) fn parse_dpop(text: &'a str) -> Result<Self, ProofError> {
        Self::read(text, Kind::Dpop)
    }

    fn read(text: &'a str, kind: Kind) -> Result<Self, ProofError> {
        if text.len() > MAX_TOKEN {
            return Err(ProofError::new(Reason::TooLarge, "the proof is over 16 KiB"));
        }
        let (signed, signature) =
            text.rsplit_once('.').ok_or_else(|| ProofError::malformed("the proof is not a compact JWS"))?;
        let (header, claims) =
            signed.split_once('.').ok_or_else(|| ProofError::malformed("the proof is not a compact JWS"))?;
        if claims.contains('.') {
            return Err(ProofError::malformed("a compact JWS has three parts"));
        }
        let header = Header::read(&object(header, "header")?, kind)?;
        let claims = object(claims, "claims")?;
        if claims.has_case_variant_of(CLAIM_NAMES) || claims.has_case_twins() {
            return Err(ProofError::malformed("the proof has claims that differ by case alone"));
        }
        Ok(Self { signed: signed.as_bytes(), signature: decode(signature)?, header, claims })
    }

    /// A claim that may steer which keys are asked, never what is granted: `iss`, and for a client
    /// assertion `sub`.
    pub(super) fn unverified_name(&self, name: &'static str) -> Result<&str, ProofError> {
        match self.claims.get(name) {
            Some(Json::String(value)) => Ok(value),
            Some(_) => Err(ProofError::new(Reason::ClaimInvalid, format!("{name} must be a string"))),
            None => Err(ProofError::new(Reason::ClaimMissing, format!("the proof has no {name}"))),
        }
    }

    /// `aud`, which may choose between issuers that share an address, and so which keys are asked; whoever
    /// those keys vouch for is held to it again.
    pub(super) fn unverified_audiences(&self) -> Result<Vec<&str>, ProofError> {
        claims::audiences(&self.claims)
    }

    /// The claims, if `check` accepts what was signed and the signature.
    pub(super) fn verified(self, check: impl FnOnce(&[u8], &[u8]) -> bool) -> Result<Object, ProofError> {
        self.claims_if(check)?;
        Ok(self.claims)
    }

    /// As [`Self::verified`], without taking the token apart.
    pub(super) fn claims_if(&self, check: impl FnOnce(&[u8], &[u8]) -> bool) -> Result<&Object, ProofError> {
        if check(self.signed, &self.signature) {
            Ok(&self.claims)
        } else {
            Err(ProofError::new(Reason::SignatureInvalid, "the signature does not verify"))
        }
    }
}

impl Header {
    fn read(header: &Object, kind: Kind) -> Result<Self, ProofError> {
        if header.has_case_variant_of(HEADER_NAMES) {
            return Err(ProofError::malformed("the header has parameters that differ by case alone"));
        }
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(ProofError::malformed("the header demands an extension; none is understood"));
        }
        if FOREIGN_KEYS.iter().any(|name| header.get(name).is_some()) {
            return Err(ProofError::malformed("the header names a key elsewhere; none is fetched or taken"));
        }
        let jwk = match kind {
            Kind::Identity => {
                check_identity(header)?;
                None
            }
            Kind::Dpop => Some(dpop_key(header)?),
        };
        Ok(Self { algorithm: algorithm(header)?, kid: kid(header)?, jwk })
    }
}

/// A proof of identity is a JWT without a key of its own.
fn check_identity(header: &Object) -> Result<(), ProofError> {
    if header.get("jwk").is_some() {
        return Err(ProofError::malformed("the header brings a key; only the issuer's own are used"));
    }
    match header.get("typ") {
        None => Ok(()),
        // JWT-SVID §2.3 has JOSE too, which says no more.
        Some(Json::String(typ)) if ["JWT", "JOSE"].iter().any(|good| typ.eq_ignore_ascii_case(good)) => {
            Ok(())
        }
        Some(_) => Err(ProofError::malformed("typ must be JWT, JOSE or absent")),
    }
}

/// A DPoP proof says that it is one, so that no other JWT of its key serves as one, and brings the key.
fn dpop_key(header: &Object) -> Result<Object, ProofError> {
    if header.get("typ") != Some(&Json::String("dpop+jwt".to_owned())) {
        return Err(ProofError::malformed("typ must be dpop+jwt"));
    }
    match header.get("jwk") {
        Some(Json::Object(jwk)) => Ok(jwk.clone()),
        _ => Err(ProofError::malformed("the header must bring the public key as jwk")),
    }
}

fn algorithm(header: &Object) -> Result<ProofAlgorithm, ProofError> {
    match header.get("alg") {
        Some(Json::String(name)) => ProofAlgorithm::named(name).ok_or_else(|| {
            ProofError::new(Reason::AlgorithmNotAllowed, "alg is not one that hallpass verifies")
        }),
        _ => Err(ProofError::malformed("the header must have a string alg")),
    }
}

fn kid(header: &Object) -> Result<Option<String>, ProofError> {
    match header.get("kid") {
        None => Ok(None),
        Some(Json::String(kid)) if !kid.is_empty() => Ok(Some(kid.clone())),
        Some(_) => Err(ProofError::malformed("kid must be a non-empty string")),
    }
}

fn object(part: &str, what: &str) -> Result<Object, ProofError> {
    Object::parse(&decode(part)?).map_err(|bad| {
        let problem = match bad {
            BadJson::Syntax => "is not strict JSON (UTF-8, no member twice, no deep nesting)",
            BadJson::NotAnObject => "is not a JSON object",
        };
        ProofError::new(Reason::ProofMalformed, format!("the {what} part {problem}"))
    })
}

/// Unpadded base64url whose unused last bits are zero, so that no other text decodes to the same bytes.
fn decode(part: &str) -> Result<Vec<u8>, ProofError> {
    if part.is_empty() {
        return Err(ProofError::malformed("a part of the compact JWS is empty"));
    }
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| ProofError::malformed("a part of the compact JWS is not unpadded base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        [header, claims, "sig"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    #[test]
    fn reads_what_chooses_a_key_and_hides_the_rest() {
        let text =
            token(r#"{"alg":"ES256","kid":"k","typ":"jwt","x5t":"t","other":1}"#, r#"{"iss":"i","sub":3}"#);
        let jws = Unverified::parse(&text).unwrap();
        assert_eq!((jws.header.algorithm, jws.header.kid.as_deref()), (ProofAlgorithm::Es256, Some("k")));
        assert_eq!(jws.unverified_name("iss").unwrap(), "i");
        assert_eq!(jws.unverified_name("sub").unwrap_err().reason, Reason::ClaimInvalid);
        assert_eq!(jws.unverified_name("aud").unwrap_err().reason, Reason::ClaimMissing);
        let signed = text.rsplit_once('.').unwrap().0.as_bytes().to_vec();
        let claims = jws.verified(|input, signature| input == signed && signature == b"sig").unwrap();
        assert_eq!(claims.get("iss"), Some(&Json::String("i".into())));
    }

    #[test]
    fn gives_no_claims_to_a_bad_signature() {
        let text = token(r#"{"alg":"ES256"}"#, r#"{"iss":"i"}"#);
        let error = Unverified::parse(&text).unwrap().verified(|_, _| false).unwrap_err();
        assert_eq!(error.reason, Reason::SignatureInvalid);
    }

    #[test]
    fn decodes_no_second_text_to_the_same_bytes() {
        assert_eq!(decode("QQ").unwrap(), b"A");
        for text in ["QR", "QQ==", "QQ=", "Q", " QQ", "QQ\n", "Q+", "Q/", "Q.Q", "é"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn repeats_nothing_of_the_token() {
        let secret = "s3cr3t-canary";
        let encoded = URL_SAFE_NO_PAD.encode(secret);
        for text in [
            secret.to_owned(),
            format!("{encoded}.{encoded}.{encoded}"),
            token(&format!(r#"{{"alg":"{secret}"}}"#), "{}"),
            token(&format!(r#"{{"alg":"ES256","kid":["{secret}"]}}"#), "{}"),
            token(&format!(r#"{{"alg":"ES256","typ":"{secret}"}}"#), "{}"),
            token(r#"{"alg":"ES256"}"#, &format!(r#"{{"{secret}":1,"{secret}":1}}"#)),
        ] {
            let error = Unverified::parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(header in ".{0,40}", claims in ".{0,40}", text in "[A-Za-z0-9_.=-]{0,60}") {
            let _ = Unverified::parse(&text);
            let _ = Unverified::parse(&token(&header, &claims));
        }
    }
}
