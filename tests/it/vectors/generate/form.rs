//! The form of a token: its parts, their JSON, the header.

use serde_json::json;

use super::{ACME, Keys, NOW, SUBJECT, US, accepted, claims, refused};
use crate::support::signer::base64url;
use crate::vectors::Vector;

pub(super) fn compact(keys: &Keys) -> Vec<Vector> {
    let good = keys.es256.token(&claims(&[]));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let bad = |name: &str, credential: String, why: &str| refused(name, "proof_malformed", credential, why);
    let flattened = json!({"protected": header, "payload": body, "signature": signature}).to_string();
    let none = base64url(r#"{"alg":"none"}"#);
    // Two unused bits at the end of 64 bytes: the next letter decodes to the same bytes.
    let next = char::from(signature.as_bytes()[signature.len() - 1] + 1);
    let twin = format!("{}{next}", &good[..good.len() - 1]);
    let padded = |to: usize, name: &str| Vector {
        pad_to: Some(to),
        ..refused(name, "too_large", good.clone(), "over 16 KiB")
    };
    vec![
        bad("form-empty", String::new(), "nothing is no proof"),
        bad("form-dots", "..".to_owned(), "three empty parts"),
        bad("form-one-part", header.to_owned(), "a compact JWS has three parts"),
        bad("form-two-parts", format!("{header}.{body}"), "the signature is gone"),
        bad("form-stripped", format!("{header}.{body}."), "the signature is empty"),
        refused(
            "form-stripped-none",
            "algorithm_not_allowed",
            format!("{none}.{body}."),
            "the classic: alg none, no signature",
        ),
        bad("form-four-parts", format!("{good}.AAAA"), "a compact JWS has three parts"),
        bad("form-five-parts", format!("{header}.AAAA.AAAA.AAAA.AAAA"), "that is a JWE"),
        bad("form-empty-header", format!(".{body}.{signature}"), "a part is empty"),
        bad("form-empty-claims", format!("{header}..{signature}"), "a detached payload is not a JWT"),
        bad("form-padding", format!("{good}=="), "base64url goes unpadded (RFC 7515 §2)"),
        bad("form-padding-within", format!("{header}=.{body}.{signature}"), "base64url goes unpadded"),
        bad("form-space-before", format!(" {good}"), "white space is not base64url"),
        bad("form-newline-after", format!("{good}\n"), "white space is not base64url"),
        bad("form-newline-within", format!("{header}.\n{body}.{signature}"), "white space is not base64url"),
        bad("form-nul", format!("{good}\0"), "a byte that ends strings elsewhere"),
        bad("form-standard-base64", format!("{header}.{body}+/.{signature}"), "+ and / are not base64url"),
        bad("form-second-text", twin, "other last bits, same bytes: a second text for one token"),
        bad("form-bearer", format!("Bearer {good}"), "a header's value is not a token"),
        bad("form-json", flattened, "JWS JSON serialization is not a JWT (RFC 7519 §1)"),
        bad(
            "form-unicode",
            format!("{header}.{body}.{}", "\u{ff21}".repeat(8)),
            "full-width letters are not base64url",
        ),
        padded(16 * 1024 + 1, "form-too-large"),
        padded(1024 * 1024, "form-huge"),
    ]
}

pub(super) fn json(keys: &Keys) -> Vec<Vector> {
    let body = |more: &str| {
        format!(r#"{{"iss":"{ACME}","sub":"{SUBJECT}","aud":"{US}","iat":{NOW},"exp":{}{more}}}"#, NOW + 300)
    };
    let bad = |name: &str, credential: String, why: &str| refused(name, "proof_malformed", credential, why);
    let more = |name: &str, text: &str, why: &str| bad(name, keys.acme_text(&body(text)), why);
    let header = r#"{"alg":"ES256","kid":"acme-es256"}"#;
    let raw = |claims: &[u8]| keys.es256.compact("ES256", header, claims);
    let deep = format!(r#","deep":{}1{}"#, "[".repeat(17), "]".repeat(17));
    let very_deep = format!(r#","deep":{}{}"#, "[".repeat(5000), "]".repeat(5000));
    let without_exp = body("").replace("\"exp\"", "\"Exp\"");
    let without_sub = body("").replace("\"sub\"", "\"\u{17f}ub\"");
    vec![
        more(
            "twice-exp",
            &format!(r#","exp":{}"#, NOW + 9_000_000),
            "which exp counts depends on the reader",
        ),
        more("twice-iss", r#","iss":"https://evil.test""#, "which iss counts depends on the reader"),
        more("twice-aud", r#","aud":"https://other.test""#, "which aud counts depends on the reader"),
        more("twice-escaped", r#","\u0073ub":"repo:acme/other""#, "an escape does not make it another name"),
        more("twice-nested", r#","act":{"sub":"a","sub":"b"}"#, "no member twice at any level"),
        more(
            "case-beside",
            &format!(r#","Exp":{}"#, NOW + 9_000_000),
            "some readers ignore case (CVE-2026-19194)",
        ),
        more("case-sub-beside", r#","SUB":"repo:acme/other""#, "some readers ignore case (CVE-2026-19194)"),
        more("case-twins", r#","ref":"a","Ref":"b""#, "claims that rules may name, apart by case alone"),
        bad("case-instead", keys.acme_text(&without_exp), "Exp is exp to some readers, and none to others"),
        bad("case-long-s", keys.acme_text(&without_sub), "\u{17f}ub is sub to readers that fold case"),
        more("json-deep", &deep, "nested deeper than any issuer does"),
        more("json-very-deep", &very_deep, "deep enough to exhaust a stack"),
        more("json-trailing-comma", ",", "not JSON"),
        more("json-lone-surrogate", r#","x":"\ud800""#, "not a Unicode text"),
        bad("json-trailing-object", keys.acme_text(&(body("") + "{}")), "something after the object"),
        bad("json-claims-array", keys.acme_text(&format!("[{}]", body(""))), "claims are an object"),
        bad("json-claims-string", keys.acme_text(r#""claims""#), "claims are an object"),
        bad("json-claims-text", keys.acme_text("iss=acme"), "not JSON"),
        bad(
            "json-bom",
            keys.acme_text(&format!("\u{feff}{}", body(""))),
            "JSON begins without a mark (RFC 8259 §8.1)",
        ),
        bad("json-nan", keys.acme_text(&body(r#","x":NaN"#)), "not JSON"),
        bad(
            "json-not-utf8",
            raw(&[body("").trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat()),
            "not UTF-8",
        ),
        bad(
            "json-utf16",
            raw(&body("").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            "not UTF-8",
        ),
        bad(
            "json-overlong",
            raw(&[body("").trim_end_matches('}').as_bytes(), b",\"x\":\"\xc0\xae\"}"].concat()),
            "an overlong form is not UTF-8",
        ),
    ]
}

pub(super) fn headers(keys: &Keys) -> Vec<Vector> {
    let bad =
        |name: &str, header: &str, why: &str| refused(name, "proof_malformed", keys.acme_header(header), why);
    let with = |name: &str, more: &str, why: &str| {
        bad(name, &format!(r#"{{"alg":"ES256","kid":"acme-es256",{more}}}"#), why)
    };
    let ignored = |name: &str, more: &str, why: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"acme-es256",{more}}}"#);
        accepted(name, "acme|repo:acme/payments:ref:refs/heads/main", keys.acme_header(&header), why)
    };
    let own = keys.stranger.public_jwk();
    let embedded = json!({"alg": "EdDSA", "jwk": own}).to_string();
    let by_own_key = keys.stranger.compact("EdDSA", &embedded, claims(&[]).to_string());
    vec![
        refused(
            "header-jwk-of-signer",
            "signature_invalid",
            by_own_key,
            "the key that it brings is not used",
        ),
        ignored(
            "header-jwk",
            &format!(r#""jwk":{}"#, keys.stranger.public_jwk()),
            "a key that it brings is not used",
        ),
        ignored("header-jku", r#""jku":"https://evil.test/jwks""#, "an address that it names is not asked"),
        ignored("header-x5u", r#""x5u":"https://evil.test/cert""#, "an address that it names is not asked"),
        ignored("header-x5c", r#""x5c":["MIIB"]"#, "platforms bring certificates, and none is read"),
        ignored("header-typ-media-type", r#""typ":"application/jwt""#, "JWT written out (RFC 7515 §4.1.9)"),
        with(
            "header-crit",
            r#""crit":["exp"],"exp":1"#,
            "a demand that is not understood (RFC 7515 §4.1.11)",
        ),
        with("header-crit-empty", r#""crit":[]"#, "an empty crit is an error (RFC 7515 §4.1.11)"),
        with("header-b64", r#""b64":false,"crit":["b64"]"#, "an unencoded payload (RFC 7797) is not a JWT"),
        with("header-b64-alone", r#""b64":false"#, "RFC 7797 without crit: readers would disagree"),
        with("header-typ-access-token", r#""typ":"at+jwt""#, "an access token is not a proof (RFC 9068 §4)"),
        with("header-typ-logout", r#""typ":"logout+jwt""#, "a logout token is not a proof"),
        with("header-typ-number", r#""typ":7"#, "typ is a string"),
        with("header-twice-kid", r#""kid":"shared""#, "which kid counts depends on the reader"),
        with("header-twice-alg", r#""alg":"none""#, "which alg counts depends on the reader"),
        with("header-case-alg", r#""Alg":"none""#, "some readers ignore case"),
        with("header-case-kid", "\"\u{212a}id\":\"shared\"", "\u{212a}id is kid to readers that fold case"),
        with("header-case-crit", r#""CRIT":["x"]"#, "some readers ignore case"),
        bad("header-kid-number", r#"{"alg":"ES256","kid":7}"#, "kid is a string"),
        bad("header-kid-empty", r#"{"alg":"ES256","kid":""}"#, "a kid that names nothing"),
        bad("header-alg-missing", r#"{"kid":"acme-es256"}"#, "alg is required (RFC 7515 §4.1.1)"),
        bad("header-alg-number", r#"{"alg":256,"kid":"acme-es256"}"#, "alg is a string"),
        bad("header-alg-array", r#"{"alg":["none","ES256"],"kid":"acme-es256"}"#, "alg is one string"),
        bad("header-array", r#"["ES256"]"#, "a header is an object"),
        bad("header-not-json", "ES256", "a header is JSON"),
        refused(
            "header-not-utf8",
            "proof_malformed",
            keys.es256.compact("ES256", b"{\"alg\":\"ES256\",\"x\":\"\xff\"}", claims(&[]).to_string()),
            "not UTF-8",
        ),
    ]
}
