//! What a properly signed token says.

use serde_json::{Value, json};

use super::{ACME, AGENT, BETA, GAMMA, Keys, NOW, SUBJECT, US, accepted, claims, refused};
use crate::support::signer::Signer;
use crate::vectors::{Parameter, Vector};

const WORKLOAD: &str = "acme|repo:acme/payments:ref:refs/heads/main";

pub(super) fn good(keys: &Keys) -> Vec<Vector> {
    let plain = claims(&[]);
    let mut vectors = Vec::new();
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        let signer = keys.of_alg(alg);
        let header = json!({"alg": alg, "typ": "JWT", "kid": signer.kid});
        let token = signer.compact(alg, header.to_string(), plain.to_string());
        let name = format!("good-{}", alg.to_lowercase());
        vectors.push(accepted(&name, WORKLOAD, token, "a proper token of an algorithm that acme may use"));
    }
    let at_beta = claims(&[("iss", json!(BETA)), ("aud", json!("hallpass-at-beta"))]);
    let at_gamma = claims(&[("iss", json!(GAMMA)), ("iat", Value::Null), ("nbf", Value::Null)]);
    let gamma = |claims: &Value| {
        accepted(
            "good-no-kid-one-key",
            &format!("gamma|{SUBJECT}"),
            keys.gamma.compact("ES256", r#"{"alg":"ES256"}"#, claims.to_string()),
            "no kid and no iat: gamma has one key, without a kid, and no age cap",
        )
    };
    vectors.push(gamma(&at_gamma));
    vectors.extend([
        accepted(
            "good-pinned-rs256",
            WORKLOAD,
            keys.pinned.token(&plain),
            "the key's own alg agrees with the header's",
        ),
        accepted(
            "good-shared-kid-beta",
            &format!("beta|{SUBJECT}"),
            keys.shared_beta.token(&at_beta),
            "acme has a key of the same kid; beta's own is used",
        ),
        accepted(
            "good-shared-kid-acme",
            WORKLOAD,
            keys.shared_acme.token(&plain),
            "beta has a key of the same kid; acme's own is used",
        ),
        accepted(
            "good-no-kid-one-fits",
            WORKLOAD,
            keys.ed25519.compact("EdDSA", r#"{"alg":"EdDSA"}"#, plain.to_string()),
            "no kid, and one key alone of acme's is for EdDSA",
        ),
        accepted(
            "good-header-extras",
            WORKLOAD,
            keys.acme_header(
                r#"{"alg":"ES256","typ":"jwt","kid":"acme-es256","x5t":"AAAA","x5t#S256":"AAAA","nonce":"n"}"#,
            ),
            "typ is compared without case (RFC 7519 §5.1); unknown header parameters are ignored (RFC 7515 §4)",
        ),
        accepted(
            "good-audience-array",
            WORKLOAD,
            keys.es256.token(&claims(&[("aud", json!(["https://other.test", US]))])),
            "aud may be an array that names us among others",
        ),
        accepted(
            "good-nested-claims",
            WORKLOAD,
            keys.es256.token(&claims(&[("kubernetes.io", json!({"pod": {"name": "p", "Exp": 1}, "sub": "x"}))])),
            "objects within are not claims, whatever their members are called",
        ),
    ]);
    vectors
}

pub(super) fn dates(keys: &Keys) -> Vec<Vector> {
    let token = |name: &str, value: Value| keys.es256.token(&claims(&[(name, value)]));
    let exp_text = |exp: &str| {
        keys.acme_text(&format!(
            r#"{{"iss":"{ACME}","sub":"{SUBJECT}","aud":"{US}","iat":{NOW},"exp":{exp}}}"#
        ))
    };
    let good =
        |name: &str, claim: &str, value: Value, why: &str| accepted(name, WORKLOAD, token(claim, value), why);
    let bad = |name: &str, reason: &str, claim: &str, value: Value, why: &str| {
        refused(name, reason, token(claim, value), why)
    };
    let wrong = "claim_invalid";
    vec![
        good(
            "good-exp-fraction",
            "exp",
            json!(NOW as f64 + 0.5),
            "a NumericDate may have a fraction (RFC 7519 §2)",
        ),
        good("good-nbf-within-leeway", "nbf", json!(NOW + 30), "acme's clock may be 30 s ahead"),
        good("good-iat-within-leeway", "iat", json!(NOW + 30), "acme's clock may be 30 s ahead"),
        good("good-iat-oldest", "iat", json!(NOW - 3630), "an hour and the leeway is still young enough"),
        bad(
            "exp-missing",
            "claim_missing",
            "exp",
            Value::Null,
            "a proof that never ends is none (SPIRE 1.11.3)",
        ),
        bad(
            "exp-string",
            wrong,
            "exp",
            json!("never"),
            "a mistyped exp is not an absent one (CVE-2026-25537)",
        ),
        bad("exp-numeric-string", wrong, "exp", json!("1795000300"), "digits in a string are not a number"),
        bad("exp-boolean", wrong, "exp", json!(true), "true is not a date"),
        bad("exp-array", wrong, "exp", json!([NOW + 300]), "an array is not a date"),
        bad("exp-negative", wrong, "exp", json!(-1), "no proof ended before 1970"),
        bad("exp-zero", wrong, "exp", json!(0), "exp is not after iat"),
        bad("exp-far", wrong, "exp", json!(i64::MAX), "beyond the year 9999 is a mistake"),
        bad("exp-before-iat", wrong, "exp", json!(NOW), "exp = iat: it never lived"),
        bad(
            "nbf-string",
            wrong,
            "nbf",
            json!("9999"),
            "a mistyped nbf is not an absent one (CVE-2026-25537)",
        ),
        bad("nbf-future", "not_yet_valid", "nbf", json!(NOW + 31), "a second beyond the leeway"),
        bad("nbf-after-exp", wrong, "nbf", json!(NOW + 301), "a proof that ends before it begins"),
        bad("iat-string", wrong, "iat", json!("1795000000"), "digits in a string are not a number"),
        bad("iat-future", "not_yet_valid", "iat", json!(NOW + 31), "a second beyond the leeway"),
        bad(
            "iat-too-old",
            "too_old",
            "iat",
            json!(NOW - 3631),
            "acme's max_age is an hour, and 30 s of leeway",
        ),
        bad("iat-missing", "claim_missing", "iat", Value::Null, "without iat its age cannot be told"),
        refused("exp-null", wrong, exp_text("null"), "null is not a date"),
        refused("exp-huge-float", wrong, exp_text("1e300"), "out of every range"),
        refused("exp-overflow", "proof_malformed", exp_text("1e400"), "no number that JSON readers agree on"),
        Vector {
            now: NOW + 330,
            ..refused(
                "exp-passed",
                "expired",
                token("exp", json!(NOW + 300)),
                "at exp and the leeway it is over",
            )
        },
        Vector {
            now: NOW + 329,
            ..accepted(
                "good-exp-last-second",
                WORKLOAD,
                token("exp", json!(NOW + 300)),
                "a second before that",
            )
        },
    ]
}

pub(super) fn names(keys: &Keys) -> Vec<Vector> {
    let bad = |name: &str, reason: &str, claim: &str, value: Value, why: &str| {
        refused(name, reason, keys.es256.token(&claims(&[(claim, value)])), why)
    };
    let aud = "audience_mismatch";
    vec![
        bad("aud-missing", "claim_missing", "aud", Value::Null, "a proof for nobody is not for us"),
        bad("aud-other", aud, "aud", json!("https://other.test"), "a string aud counts too (CVE-2024-5798)"),
        bad("aud-others", aud, "aud", json!(["https://a.test", "https://b.test"]), "none is ours"),
        bad("aud-slash", aud, "aud", json!(format!("{US}/")), "audiences are compared byte for byte"),
        bad("aud-prefix", aud, "aud", json!(format!("{US}.evil.test")), "a prefix is not the audience"),
        bad("aud-of-other-issuer", aud, "aud", json!("hallpass-at-beta"), "beta's audience is not acme's"),
        bad("aud-empty-array", "claim_invalid", "aud", json!([]), "an empty array names nobody"),
        bad("aud-empty-string", "claim_invalid", "aud", json!(""), "an empty string names nobody"),
        bad("aud-mixed-array", "claim_invalid", "aud", json!([US, 7]), "an array of strings alone"),
        bad("aud-nested-array", "claim_invalid", "aud", json!([[US]]), "an array of strings alone"),
        bad("aud-object", "claim_invalid", "aud", json!({ US: true }), "an object is no audience"),
        bad("iss-missing", "claim_missing", "iss", Value::Null, "nobody vouches"),
        bad("iss-array", "claim_invalid", "iss", json!([ACME]), "iss is one string"),
        bad(
            "iss-unknown",
            "issuer_unknown",
            "iss",
            json!("https://evil.test"),
            "not configured, so not contacted",
        ),
        bad(
            "iss-metadata-address",
            "issuer_unknown",
            "iss",
            json!("http://169.254.169.254/latest"),
            "a token must not choose an address (CVE-2025-52477)",
        ),
        bad(
            "iss-slash",
            "issuer_unknown",
            "iss",
            json!(format!("{ACME}/")),
            "issuers are compared byte for byte",
        ),
        bad(
            "iss-case",
            "issuer_unknown",
            "iss",
            json!("https://ISSUER.acme.test"),
            "byte for byte, hosts too",
        ),
        bad(
            "iss-suffix",
            "issuer_unknown",
            "iss",
            json!(format!("{ACME}.evil.test")),
            "a prefix is not the issuer",
        ),
        bad("sub-missing", "claim_missing", "sub", Value::Null, "nobody is vouched for"),
        bad("sub-number", "claim_invalid", "sub", json!(7), "sub is a string"),
        bad("sub-empty", "claim_invalid", "sub", json!(""), "an empty subject is nobody"),
        bad("sub-newline", "claim_invalid", "sub", json!("a\nb"), "control characters forge lines of logs"),
        bad(
            "sub-long",
            "claim_invalid",
            "sub",
            json!("s".repeat(1025)),
            "it stands in every token and event",
        ),
    ]
}

/// Client assertions of a registered key (RFC 7523).
pub(super) fn assertions(keys: &Keys) -> Vec<Vector> {
    let base = |changes: &[(&str, Value)]| {
        let mut all = vec![
            ("iss", json!(AGENT)),
            ("sub", json!(AGENT)),
            ("jti", json!("0f1e2d")),
            ("nbf", Value::Null),
        ];
        all.extend(changes.iter().cloned());
        claims(&all)
    };
    let by = |signer: &Signer, changes: &[(&str, Value)]| signer.token(&base(changes));
    let ours = |changes: &[(&str, Value)]| by(&keys.registered, changes);
    let workload = {
        let jwk = keys.registered.public_jwk();
        let key: hallpass::domain::key::PublicKey = serde_json::from_value(jwk).unwrap();
        format!("key|{}", key.thumbprint())
    };
    let none_header = r#"{"alg":"none"}"#;
    let bad = |name: &str, reason: &str, changes: &[(&str, Value)], why: &str| {
        refused(name, reason, ours(changes), why)
    };
    let vectors = vec![
        accepted("assertion-good", &workload, ours(&[]), "five minutes, for us, by the registered key"),
        accepted(
            "assertion-good-audience-array",
            &workload,
            ours(&[("aud", json!([US]))]),
            "an array of one",
        ),
        bad(
            "assertion-aud-two",
            "audience_mismatch",
            &[("aud", json!([US, "https://x.test"]))],
            "ours alone",
        ),
        bad("assertion-aud-other", "audience_mismatch", &[("aud", json!(ACME))], "made for another server"),
        bad("assertion-long", "lifetime_too_long", &[("exp", json!(NOW + 301))], "over five minutes"),
        bad("assertion-jti-missing", "claim_missing", &[("jti", Value::Null)], "it could be used twice"),
        bad("assertion-jti-number", "claim_invalid", &[("jti", json!(7))], "jti is a string"),
        accepted(
            "assertion-iat-missing",
            &workload,
            ours(&[("iat", Value::Null)]),
            "iat is optional (RFC 7523 §3); exp is near",
        ),
        bad(
            "assertion-iat-missing-far",
            "lifetime_too_long",
            &[("iat", Value::Null), ("exp", json!(NOW + 331))],
            "without iat, exp is at most five minutes and the leeway away",
        ),
        accepted(
            "assertion-aud-token-endpoint",
            &workload,
            ours(&[("aud", json!(format!("{US}/oauth/token")))]),
            "the token endpoint may be the audience (RFC 7523 §3)",
        ),
        accepted(
            "assertion-aud-both",
            &workload,
            ours(&[("aud", json!([US, format!("{US}/oauth/token")]))]),
            "both are this broker",
        ),
        bad(
            "assertion-aud-other-path",
            "audience_mismatch",
            &[("aud", json!(format!("{US}/oauth/introspect")))],
            "a path that is neither the issuer nor the token endpoint",
        ),
        bad("assertion-exp-missing", "claim_missing", &[("exp", Value::Null)], "it would never end"),
        bad(
            "assertion-iss-not-sub",
            "claim_invalid",
            &[("iss", json!("other-agent"))],
            "iss = sub = the agent",
        ),
        bad("assertion-expired", "expired", &[("iat", json!(NOW - 330)), ("exp", json!(NOW - 30))], "over"),
        bad("assertion-future", "not_yet_valid", &[("iat", json!(NOW + 31))], "a second beyond the leeway"),
        refused(
            "assertion-other-agent",
            "signature_invalid",
            ours(&[("iss", json!("other-agent")), ("sub", json!("other-agent"))]),
            "the key is registered for another agent; who is registered must not show",
        ),
        refused(
            "assertion-other-key",
            "signature_invalid",
            by(&keys.es256, &[]),
            "a key that nobody registered",
        ),
        refused(
            "assertion-other-kind",
            "signature_invalid",
            by(&keys.ed25519, &[]),
            "the agent has no Ed25519 key, which must not show",
        ),
        refused(
            "assertion-none",
            "algorithm_not_allowed",
            keys.registered.compact("ES256", none_header, base(&[]).to_string()),
            "none is not an algorithm",
        ),
    ];
    vectors.into_iter().map(|vector| Vector { parameter: Parameter::ClientAssertion, ..vector }).collect()
}
