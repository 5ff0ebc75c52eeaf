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

/// The greatest size of a proof, bytes.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

/// Header names no member may resemble without being it: those that are read. Others are ignored (RFC 7515 §4), those
/// that name or carry a key (`jku`, `x5u`, `x5c`; `jwk` outside DPoP) too: platforms write them, and none is ever followed.
const HEADER_NAMES: &[&str] = &["alg", "kid", "typ", "crit", "b64", "jwk"];

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
        let header = Header::read(&object(header, "header", HEADER_NAMES)?, kind)?;
        let claims = object(claims, "claims", CLAIM_NAMES)?;
        if let Some(name) = claims.case_variant_of(CLAIM_NAMES) {
            return Err(differs_by_case("claim", name));
        }
        if claims.has_case_twins() {
            return Err(ProofError::malformed("the proof has claims that differ by case alone"));
        }
        Ok(Self { signed: signed.as_bytes(), signature: decode(signature, "signature")?, header, claims })
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
        if let Some(name) = header.case_variant_of(HEADER_NAMES) {
            return Err(differs_by_case("header parameter", name));
        }
        if header.get("crit").is_some() {
            return Err(ProofError::malformed(
                "the header has crit, which demands an extension; none is understood",
            ));
        }
        if header.get("b64").is_some() {
            return Err(ProofError::malformed("the header has b64 (RFC 7797), which no JWT may have"));
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

/// A proof of identity is a plain JWT, not one of another kind (RFC 8725 §3.11).
fn check_identity(header: &Object) -> Result<(), ProofError> {
    match header.get("typ") {
        None => Ok(()),
        Some(Json::String(typ)) if is_plain_jwt(typ) => Ok(()),
        Some(_) => Err(ProofError::malformed("typ must be JWT, application/jwt, JOSE or absent")),
    }
}

/// JWT-SVID §2.3 has JOSE too, which says no more. A media type may be written out or without its
/// `application/` (RFC 7515 §4.1.9).
fn is_plain_jwt(typ: &str) -> bool {
    ["JWT", "application/jwt", "JOSE"].iter().any(|good| typ.eq_ignore_ascii_case(good))
}

fn differs_by_case(what: &str, name: &str) -> ProofError {
    ProofError::new(Reason::ProofMalformed, format!("a {what} differs from {name} by case alone"))
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

/// `names`: the members that an error may name.
fn object(part: &str, what: &str, names: &[&'static str]) -> Result<Object, ProofError> {
    Object::parse(&decode(part, what)?, names).map_err(|bad| {
        let problem = match bad {
            BadJson::Syntax => "is not JSON in UTF-8".to_owned(),
            BadJson::TooDeep => "is nested too deeply".to_owned(),
            BadJson::Repeated(Some(name)) => format!("has {name} twice"),
            BadJson::Repeated(None) => "has a member twice".to_owned(),
            BadJson::NotAnObject => "is not a JSON object".to_owned(),
        };
        ProofError::new(Reason::ProofMalformed, format!("the {what} part {problem}"))
    })
}

/// Unpadded base64url whose unused last bits are zero, so that no other text decodes to the same bytes.
fn decode(part: &str, what: &str) -> Result<Vec<u8>, ProofError> {
    let malformed =
        |problem: &str| ProofError::new(Reason::ProofMalformed, format!("the {what} part {problem}"));
    if part.is_empty() {
        return Err(malformed("of the compact JWS is empty"));
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("of the compact JWS is not unpadded base64url"))
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
        assert_eq!(decode("QQ", "claims").unwrap(), b"A");
        for text in ["QR", "QQ==", "QQ=", "Q", " QQ", "QQ\n", "Q+", "Q/", "Q.Q", "é"] {
            assert!(decode(text, "claims").is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_member() {
        let good = r#"{"alg":"ES256"}"#;
        for (header, claims, named) in [
            (r#"{"alg":"ES256","crit":["exp"]}"#, "{}", "crit"),
            (r#"{"alg":"ES256","b64":false}"#, "{}", "b64"),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, "{}", "typ must be"),
            (r#"{"alg":"ES256","Kid":"k"}"#, "{}", "a header parameter differs from kid"),
            (r#"{"alg":"ES256","kid":"a","kid":"b"}"#, "{}", "the header part has kid twice"),
            (r#"{"alg":"ES256","odd":"a","odd":"b"}"#, "{}", "the header part has a member twice"),
            (good, r#"{"Exp":1}"#, "a claim differs from exp"),
            (good, r#"{"aud":1,"aud":2}"#, "the claims part has aud twice"),
            (good, r#"{"a":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}"#, "the claims part is nested too deeply"),
            (good, "{", "the claims part is not JSON"),
            (good, "[]", "the claims part is not a JSON object"),
        ] {
            let error = Unverified::parse(&token(header, claims)).unwrap_err();
            assert!(error.detail.contains(named), "{named}: {error}");
        }
        for (text, named) in [
            ("a.b=.c", "the header part"),
            (&format!("{}.*.c", token(good, "{}").split('.').next().unwrap()), "the claims part"),
        ] {
            let error = Unverified::parse(text).unwrap_err();
            assert!(error.detail.contains(named), "{named}: {error}");
        }
    }

    #[test]
    fn what_may_be_ignored_is_ignored() {
        for more in [
            r#""jku":"https://evil.test/jwks""#,
            r#""x5u":"https://evil.test/cert""#,
            r#""x5c":["MIIB"]"#,
            r#""x5c":7"#,
            r#""jwk":{"kty":"oct","k":"AA"}"#,
            r#""typ":"application/jwt""#,
            r#""typ":"APPLICATION/JWT""#,
            r#""cty":"json""#,
        ] {
            let jws = token(&format!(r#"{{"alg":"ES256",{more}}}"#), r#"{"iss":"i"}"#);
            let header = Unverified::parse(&jws).unwrap().header;
            assert!(header.jwk.is_none() && header.kid.is_none(), "{more}");
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
