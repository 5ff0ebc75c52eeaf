//! The liberties that RFC 7523 gives whoever writes an assertion, and the switch that takes one away.

use serde_json::json;

use super::bench::{AGENT, Bench, OTHER, outcome};
use crate::support::broker::{AUDIENCE, BOTH, Backend, decode};
use crate::support::signer::Signer;

/// `aud` as clients of RFC 7523 and of the OAuth SDKs write it, and a clock that writes no `iat`.
#[tokio::test]
async fn an_assertion_may_name_the_token_endpoint_and_leave_iat_out() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        let endpoint = format!("{AUDIENCE}/oauth/token");
        let audiences = [
            json!(AUDIENCE),
            json!(endpoint),
            json!([AUDIENCE]),
            json!([endpoint, AUDIENCE]),
            json!(format!("{AUDIENCE}/")),
        ];
        for (n, audience) in audiences.into_iter().enumerate() {
            let mut claims = bench.claims(AGENT, &format!("aud-{n}"));
            claims["aud"] = audience;
            bench.token(&bench.ed25519.token(&claims)).await.token();
        }
        for (seconds, outcome_of) in
            [(300, "200  "), (330, "200  "), (331, "401 invalid_client lifetime_too_long")]
        {
            let mut claims = bench.claims(AGENT, &format!("exp-{seconds}"));
            claims.as_object_mut().unwrap().remove("iat");
            claims["exp"] = json!(bench.app.hands.now().seconds() + seconds);
            let answer = bench.token(&bench.ed25519.token(&claims)).await;
            assert_eq!(outcome(&answer), outcome_of, "{seconds}");
        }
        bench.app.finish().await;
    }
}

#[tokio::test]
async fn a_strict_audience_is_the_issuer_alone() {
    let bench = Bench::configured(Backend::Memory, "[token]\nstrict_assertion_audience = true\n").await;
    let mut claims = bench.claims(AGENT, "1");
    for audience in [
        json!(format!("{AUDIENCE}/oauth/token")),
        json!(format!("{AUDIENCE}/")),
        json!([AUDIENCE, format!("{AUDIENCE}/oauth/token")]),
    ] {
        claims["aud"] = audience;
        let answer = bench.token(&bench.ed25519.token(&claims)).await;
        assert_eq!(outcome(&answer), "401 invalid_client audience_mismatch");
        assert_eq!(answer.json()["error_description"], "aud must be this broker's issuer alone");
    }
    for audience in [json!(AUDIENCE), json!([AUDIENCE])] {
        let jti = audience.to_string();
        (claims["aud"], claims["jti"]) = (audience, json!(jti));
        bench.token(&bench.ed25519.token(&claims)).await.token();
    }
    bench.app.finish().await;
}

/// RFC 7523 §2.1: the assertion is the grant.
#[tokio::test]
async fn a_registered_key_may_sign_a_bearer_assertion() {
    for backend in BOTH {
        let bench = Bench::start(backend).await;
        let bearer = async |assertion: &str, more: &[(&str, &str)]| {
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let form = [&[("grant_type", grant), ("assertion", assertion)], more].concat();
            let answer = bench.app.post_form("/oauth/token", &form, None).await;
            if answer.status == 200 {
                bench.app.note_released(&answer.token());
            }
            answer
        };
        let assertion = bench.assertion("1");
        let answer = bearer(&assertion, &[("client_id", OTHER)]).await;
        assert_eq!(outcome(&answer), "400 invalid_request parameter_invalid");
        let answer = bearer(&assertion, &[("scope", "ledger:GET"), ("client_id", AGENT)]).await;
        assert_eq!(decode(&answer.token())["client_id"], AGENT);
        // One `jti` for both grants.
        assert_eq!(outcome(&bearer(&assertion, &[]).await), "400 invalid_grant replayed");
        bench.refused(&assertion, "replayed").await;
        // Nobody's, another's and an unknown agent's read the same.
        let stranger = Signer::ed25519("laptop");
        for (signer, agent) in
            [(&stranger, AGENT), (&stranger, "nobody"), (&bench.others, AGENT), (&stranger, "keyless")]
        {
            let answer = bearer(&signer.token(&bench.claims(agent, "2")), &[]).await;
            assert_eq!(outcome(&answer), "400 invalid_grant signature_invalid", "{agent}");
        }
        // Whose issuer no agent's id could be.
        let mut claims = bench.claims(AGENT, "3");
        claims["iss"] = json!("https://other.test");
        let answer = bearer(&bench.ed25519.token(&claims), &[]).await;
        assert_eq!(outcome(&answer), "400 invalid_grant issuer_unknown");
        bench.app.finish().await;
    }
}
