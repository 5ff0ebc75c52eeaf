//! Agents that prove themselves by a registered key: `client_credentials` with a `client_assertion`
//! (RFC 7523 §2.2), over HTTP, on both revocation stores.

mod bench;
mod flood;
mod liberties;

use std::sync::Arc;

use ring::hmac;
use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, BOTH, Backend, PAYMENTS, TestApp, decode};
use crate::support::signer::{Signer, base64url};
use bench::{AGENT, Bench, JWT_BEARER, OTHER, identities, outcome, present};

#[tokio::test]
async fn each_registered_key_is_worth_a_token() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        for (n, signer) in [&bench.ed25519, &bench.es256].into_iter().enumerate() {
            let mut claims = bench.claims(AGENT, &format!("first-{n}"));
            let token = present(&bench.app, &signer.token(&claims), &[("client_id", AGENT)]).await.token();
            let issued = decode(&token);
            assert_eq!((&issued["client_id"], &issued["owner"]), (&json!(AGENT), &json!("team-payments")));
            let key: hallpass::domain::key::PublicKey = serde_json::from_value(signer.public_jwk()).unwrap();
            assert_eq!(issued["workload"], format!("key|{}", key.thumbprint()));
            assert!(bench.app.active(&token).await);
            let jti = issued["jti"].as_str().unwrap();
            let events = bench.app.events(&format!("token={jti}")).await;
            assert_eq!((events.len(), &events[0]["workload"]), (1, &issued["workload"]));
            // RFC 7519 §4.1.3: one audience may stand in an array.
            claims["aud"] = json!([AUDIENCE]);
            claims["jti"] = json!(format!("second-{n}"));
            let narrowed = present(&bench.app, &signer.token(&claims), &[("scope", "ledger:GET")]).await;
            assert_eq!(decode(&narrowed.token())["scope"], "ledger:GET");
        }
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    for backend in BOTH {
        let mut bench = Bench::start(backend).await;
        let assertion = bench.assertion("once");
        bench.token(&assertion).await.token();
        bench.refused(&assertion, "replayed").await;
        // Signed anew it is the same `jti`; by another agent it is another.
        bench.refused(&bench.es256.token(&bench.claims(AGENT, "once")), "replayed").await;
        bench.token(&bench.others.token(&bench.claims(OTHER, "once"))).await.token();
        bench.token(&bench.assertion("twice")).await.token();
        // What is refused for its request has proven its holder, and is used up all the same.
        let beyond = bench.assertion("beyond");
        let answer = present(&bench.app, &beyond, &[("scope", "ledger:DELETE")]).await;
        assert_eq!(outcome(&answer), "400 invalid_scope scope_not_registered");
        bench.refused(&beyond, "replayed").await;
        if backend == Backend::Redis {
            bench.app.shutdown().await;
            bench.app.boot().await;
            bench.refused(&assertion, "replayed").await;
            bench.token(&bench.assertion("after the restart")).await.token();
        }
        // Until it is dead anyhow.
        bench.app.hands.push(70);
        bench.refused(&assertion, "replayed").await;
        bench.app.hands.push(20);
        bench.refused(&assertion, "expired").await;
        bench.app.finish().await;
    }
}

/// How fifty tries of one assertion at once end, in order.
async fn race(app: &Arc<TestApp>, assertion: &str) -> Vec<String> {
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (app, assertion) = (Arc::clone(app), assertion.to_owned());
            tokio::spawn(async move { outcome(&present(&app, &assertion, &[]).await) })
        })
        .collect();
    let mut outcomes = Vec::new();
    for one in tries {
        outcomes.push(one.await.unwrap());
    }
    outcomes.sort();
    outcomes
}

#[tokio::test]
async fn fifty_at_once_get_one_token() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        let mut tokens = 0;
        let assertions = ["1", "2", "3", "4", "5"].map(|jti| bench.assertion(jti));
        let app = Arc::new(bench.app);
        for assertion in &assertions {
            let outcomes = race(&app, assertion).await;
            let count = |of: &str| outcomes.iter().filter(|outcome| *outcome == of).count();
            let (issued, replayed) = (count("200  "), count("401 invalid_client replayed"));
            // A Redis that answers too late on a busy machine: used or not, who asked gets nothing.
            let unknown = count("503 temporarily_unavailable revocation_unavailable");
            assert_eq!(issued + replayed + unknown, 50, "{backend:?} {outcomes:?}");
            assert!(issued <= 1 && (issued == 1 || unknown > 0), "{backend:?} {outcomes:?}");
            tokens += issued;
        }
        assert!(tokens > 0, "{backend:?}: five races without a winner");
        assert_eq!(app.events("kind=token.issued").await.len(), tokens, "{backend:?}");
        Arc::try_unwrap(app).ok().expect("all tries are over").finish().await;
    }
}

/// (member, value in place of the good one, reason). Numbers are seconds from now; null leaves it out.
const WRONG: &[(&str, &str, &str)] = &[
    ("aud", r#""https://other.test""#, "audience_mismatch"),
    ("aud", r#""https://hallpass.test//""#, "audience_mismatch"),
    ("aud", r#""https://hallpass.test/oauth/token/""#, "audience_mismatch"),
    ("aud", r#""https://hallpass.test/oauth/introspect""#, "audience_mismatch"),
    ("aud", r#"["https://hallpass.test", "https://other.test"]"#, "audience_mismatch"),
    ("aud", "null", "claim_missing"),
    ("iss", r#""ledger-reader""#, "claim_invalid"),
    ("iss", "null", "claim_missing"),
    ("sub", r#""ledger-reader""#, "claim_invalid"),
    ("sub", r#""agent:payments-refactorer""#, "claim_invalid"),
    ("sub", "null", "claim_missing"),
    ("exp", "301", "lifetime_too_long"),
    // Before it was issued.
    ("exp", "-30", "claim_invalid"),
    ("exp", r#""never""#, "claim_invalid"),
    ("exp", "null", "claim_missing"),
    ("iat", "59", "not_yet_valid"),
    ("nbf", "59", "not_yet_valid"),
    ("jti", "null", "claim_missing"),
    ("jti", r#""""#, "claim_invalid"),
    ("jti", "[7]", "claim_invalid"),
];

#[tokio::test]
async fn what_is_wrong_in_an_assertion_is_named() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        for (member, value, reason) in WRONG {
            // One `jti` for all: what is refused uses nothing up.
            let mut claims = bench.claims(AGENT, "one");
            let now = bench.app.hands.now().seconds();
            match serde_json::from_str(value).unwrap() {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*member)),
                Value::Number(seconds) => claims[*member] = json!(now + seconds.as_i64().unwrap()),
                other => claims[*member] = other,
            }
            let answer = bench.token(&bench.ed25519.token(&claims)).await;
            assert_eq!(outcome(&answer), format!("401 invalid_client {reason}"), "{member}: {value}");
            let names_it = answer.json()["error_description"].as_str().unwrap().contains(member);
            // `iss` and `sub` say whose key to try, so their sender has proven nothing yet.
            let proven = !["iss", "sub"].contains(member);
            assert!(names_it || !proven, "{member}: {answer:?}");
            // A stranger's, with a signature that nobody registered, does not learn of the claims.
            let stranger = Signer::ed25519("laptop").token(&claims);
            let answer = bench.token(&stranger).await.json();
            if proven {
                assert_eq!(answer["reason"], "signature_invalid", "{member}: {value}");
            }
            let reason: hallpass::domain::reason::Reason = *hallpass::domain::reason::Reason::ALL
                .iter()
                .find(|reason| answer["reason"] == reason.as_str())
                .unwrap();
            assert_eq!(answer["error_description"], reason.meaning(), "{member}: {value}");
        }
        // Operators read in the log what the answer said.
        let events = bench.app.events("kind=token.refused").await;
        let told = |words: &str| {
            events.iter().any(|event| event["detail"].as_str().is_some_and(|detail| detail.contains(words)))
        };
        assert!(told("the proof has no jti") && told("iss and sub of a client assertion"), "{events:?}");
        let mut longest = bench.claims(AGENT, "one");
        longest["exp"] = json!(longest["iat"].as_i64().unwrap() + 300);
        bench.token(&bench.ed25519.token(&longest)).await.token();
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn no_other_algorithm_makes_a_key_sign() {
    let bench = Bench::start(Backend::Memory).await;
    let claims = bench.claims(AGENT, "j").to_string();
    let public = bench.es256.public_jwk();
    let signed = |alg: &str| format!("{}.{}", base64url(json!({"alg": alg}).to_string()), base64url(&claims));
    // The public key as the secret of an HMAC, as its text and as its bytes.
    for secret in [public.to_string(), public["x"].as_str().unwrap().to_owned()] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mac = hmac::sign(&key, signed("HS256").as_bytes());
        bench.refused(&format!("{}.{}", signed("HS256"), base64url(mac)), "algorithm_not_allowed").await;
    }
    for none in ["none", "None", "NONE"] {
        for signature in ["", "AAAA"] {
            let assertion = format!("{}.{signature}", signed(none));
            bench.refused(&assertion, "algorithm_not_allowed").await;
        }
    }
    // A key of one kind under the name of another.
    for (signer, alg) in [(&bench.es256, "EdDSA"), (&bench.ed25519, "ES256"), (&bench.es256, "ES384")] {
        let signature = base64url(signer.sign(alg, signed(alg).as_bytes()));
        bench.refused(&format!("{}.{signature}", signed(alg)), "signature_invalid").await;
    }
    // RFC 9864's name for EdDSA with this curve, for such a key alone and in this spelling alone.
    for (alg, jti) in [("Ed25519", "rfc-9864"), ("ed25519", "r2"), ("Ed448", "r3")] {
        let claims = bench.claims(AGENT, jti).to_string();
        let assertion = bench.ed25519.compact(alg, json!({"alg": alg}).to_string(), &claims);
        match alg {
            "Ed25519" => drop(bench.token(&assertion).await.token()),
            _ => bench.refused(&assertion, "algorithm_not_allowed").await,
        }
    }
    let signature = base64url(bench.es256.sign("ES256", signed("Ed25519").as_bytes()));
    bench.refused(&format!("{}.{signature}", signed("Ed25519")), "signature_invalid").await;
    // A key that the assertion brings along.
    let stranger = Signer::ed25519("laptop");
    let header = json!({"alg": "EdDSA", "jwk": stranger.public_jwk()}).to_string();
    bench.refused(&stranger.compact("EdDSA", header, &claims), "signature_invalid").await;
    bench.token(&bench.assertion("j")).await.token();
    bench.app.finish().await;
}

#[tokio::test]
async fn who_is_registered_does_not_show() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        let stranger = Signer::ed25519("laptop");
        let rsa = Signer::rs256("laptop");
        let mut seen = Vec::new();
        for (signer, agent, what) in [
            (&stranger, "nobody", "no such agent"),
            (&stranger, AGENT, "a wrong signature"),
            (&bench.others, AGENT, "the key of another agent"),
            (&bench.ed25519, OTHER, "the key of another agent"),
            (&rsa, AGENT, "no key of this kind"),
            (&stranger, "keyless", "no key at all"),
        ] {
            let answer = bench.token(&signer.token(&bench.claims(agent, "j"))).await;
            let mut body = answer.json();
            body["request_id"].take();
            let mut headers: Vec<_> =
                answer.headers.iter().map(|(name, value)| format!("{name:?} {value:?}")).collect();
            headers
                .retain(|header| !header.starts_with("\"date\"") && !header.starts_with("\"x-request-id\""));
            seen.push((answer.status, body, headers, what));
        }
        for (status, body, headers, what) in &seen {
            assert_eq!((status, body, headers), (&401, &seen[0].1, &seen[0].2), "{what}");
        }
        // Not in the audit log as somebody's, either: nobody has proven to be an agent.
        let refused = bench.app.events("kind=token.refused").await;
        assert_eq!(refused.len(), seen.len());
        assert!(refused.iter().all(|event| event.get("agent").is_none_or(Value::is_null)), "{refused:?}");
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn the_parameters_belong_together() {
    let bench = Bench::start(Backend::Memory).await;
    let assertion = bench.assertion("j");
    for (more, reason) in [
        (&[("client_id", OTHER)][..], "parameter_invalid"),
        (&[("client_id", AGENT), ("client_id", AGENT)], "parameter_repeated"),
        (&[("client_assertion", "a.b.c")], "parameter_repeated"),
        (&[("subject_token", "a.b.c")], "parameter_invalid"),
        (&[("client_secret", "x")], "parameter_unknown"),
    ] {
        let answer = present(&bench.app, &assertion, more).await;
        assert_eq!(outcome(&answer), format!("400 invalid_request {reason}"), "{more:?}");
    }
    let other = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    for (form, reason) in [
        (&[("client_assertion", assertion.as_str())][..], "parameter_missing"),
        (&[("client_assertion_type", JWT_BEARER)], "parameter_missing"),
        (&[("client_assertion", &assertion), ("client_assertion_type", other)], "parameter_invalid"),
    ] {
        let form = [&[("grant_type", "client_credentials")], form].concat();
        let answer = bench.app.post_form("/oauth/token", &form, None).await;
        assert_eq!(outcome(&answer), format!("400 invalid_request {reason}"), "{form:?}");
    }
    // None of it used the assertion up.
    bench.token(&assertion).await.token();
    bench.app.finish().await;
}

#[tokio::test]
async fn stops_hold_for_registered_keys() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        let token = bench.token(&bench.assertion("1")).await.token();
        let sibling = bench.token(&bench.assertion("2")).await.token();
        bench.app.revoke(&format!("token:{}", decode(&token)["jti"].as_str().unwrap())).await;
        assert!(!bench.app.active(&token).await);
        assert!(bench.app.active(&sibling).await);
        for (n, target) in
            ["issuer:key", "agent:payments-refactorer", "owner:team-payments"].iter().enumerate()
        {
            let live = bench.token(&bench.assertion(&format!("before-{n}"))).await.token();
            let by_oidc = bench.app.issue().await;
            let stop = bench.app.revoke(target).await;
            assert!(!bench.app.active(&live).await, "{target}");
            let answer = bench.token(&bench.assertion(&format!("during-{n}"))).await;
            assert_eq!(outcome(&answer), "400 access_denied revoked", "{target}");
            // Keys that are not trusted any more say nothing against the platform's identities.
            assert_eq!(bench.app.active(&by_oidc).await, *target == "issuer:key", "{target}");
            bench.app.lift(&stop).await;
            bench.token(&bench.assertion(&format!("after-{n}"))).await.token();
            assert!(!bench.app.active(&live).await, "{target}");
        }
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn without_redis_nobody_can_tell_whether_it_was_used() {
    let mut bench = Bench::start(Backend::Redis).await;
    let assertion = bench.assertion("j");
    bench.app.redis.as_mut().unwrap().kill();
    let answer = bench.token(&assertion).await;
    assert_eq!(outcome(&answer), "503 temporarily_unavailable revocation_unavailable");
    bench.app.redis.as_mut().unwrap().restart();
    for _ in 0..50 {
        if bench.token(&bench.assertion("back")).await.status != 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bench.token(&assertion).await.token();
    bench.refused(&assertion, "replayed").await;
    bench.app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_taken_out_is_worth_nothing() {
    let bench = Bench::start(Backend::Memory).await;
    bench.token(&bench.assertion("1")).await.token();
    let file = bench.app.file(&format!("agents/{AGENT}.toml"));
    std::fs::write(&file, format!("{PAYMENTS}{}", identities(&[&bench.es256]))).unwrap();
    for _ in 0..100 {
        if bench.app.events("kind=registry.loaded").await.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bench.refused(&bench.assertion("2"), "signature_invalid").await;
    bench.token(&bench.es256.token(&bench.claims(AGENT, "3"))).await.token();
    bench.app.finish().await;
}
