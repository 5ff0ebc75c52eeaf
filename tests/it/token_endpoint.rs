//! `POST /oauth/token` as an agent meets it.

use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, BOTH, Backend, TestApp, decode};

#[tokio::test]
async fn a_token_opens_exactly_what_was_asked_for() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let answer = app.exchange(&app.proof(), &[("scope", "payments:read ledger:GET")]).await;
        let body = answer.json();
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 600);
        assert_eq!(body["scope"], "payments:read ledger:GET");
        assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        let claims = decode(&answer.token());
        assert_eq!(claims["iss"], AUDIENCE);
        assert_eq!(claims["sub"], "agent:payments-refactorer");
        assert_eq!(claims["owner"], "team-payments");
        assert_eq!(claims["aud"], json!(["https://github.com", "https://ledger.staging.acme.internal"]));
        assert_eq!(claims["workload"], "ci|repo:acme/payments:ref:refs/heads/main");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
        assert_eq!(claims["authorization_details"], body["authorization_details"]);
        app.finish().await;
    }
}

#[tokio::test]
async fn nothing_asked_is_all_that_is_free() {
    let app = TestApp::start(Backend::Memory).await;
    let claims = decode(&app.issue().await);
    assert_eq!(claims["scope"], "payments:read payments:push ledger:GET");
    app.finish().await;
}

#[tokio::test]
async fn scope_and_details_say_the_same_thing() {
    let app = TestApp::start(Backend::Memory).await;
    let details = json!([{"type": "http_endpoint", "identifier": "ledger", "actions": ["GET"]}]).to_string();
    let by_details = app.exchange(&app.proof(), &[("authorization_details", &details)]).await.json();
    let by_scope = app.exchange(&app.proof(), &[("scope", "ledger:GET")]).await.json();
    assert_eq!(by_details["authorization_details"], by_scope["authorization_details"]);
    assert_eq!(by_details["scope"], by_scope["scope"]);
    let narrow =
        json!([{"type": "git_repository", "identifier": "payments", "refs": ["refs/heads/agent/a"]}]);
    let narrow = app.exchange(&app.proof(), &[("authorization_details", &narrow.to_string())]).await.json();
    assert_eq!(narrow["authorization_details"][0]["refs"], json!(["refs/heads/agent/a"]));
    app.finish().await;
}

#[tokio::test]
async fn a_ttl_may_only_shorten() {
    let app = TestApp::start(Backend::Memory).await;
    for (asked, given) in [("60", 60), ("600", 600), ("86400", 600), ("99999999999999999999", 600)] {
        let answer = app.exchange(&app.proof(), &[("requested_ttl", asked)]).await;
        assert_eq!(answer.json()["expires_in"], given, "{asked}");
    }
    for wrong in ["0", "-1", "1.5", "ten", "+5"] {
        let answer = app.exchange(&app.proof(), &[("requested_ttl", wrong)]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "parameter_invalid"), "{wrong}");
    }
    app.finish().await;
}

/// A script whose variable is empty asked for one thing, and must not get everything.
#[tokio::test]
async fn what_narrows_and_is_blank_is_refused() {
    let app = TestApp::start(Backend::Memory).await;
    for name in ["scope", "authorization_details", "resource", "audience", "requested_ttl"] {
        for blank in ["", " ", "   "] {
            let answer = app.exchange(&app.proof(), &[(name, blank)]).await;
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (400, "parameter_invalid"),
                "{name}={blank:?}"
            );
            assert!(answer.json()["error_description"].as_str().unwrap().starts_with(name), "{answer:?}");
        }
    }
    let several = [("resource", "https://github.com"), ("resource", "")];
    assert_eq!(app.exchange(&app.proof(), &several).await.reason(), "parameter_invalid");
    app.finish().await;
}

/// A program that has nothing to say for a member writes `null`: that must not read as «not narrowed».
#[tokio::test]
async fn a_detail_that_is_null_is_refused() {
    let app = TestApp::start(Backend::Memory).await;
    for member in ["locations", "actions", "refs", "paths", "environment"] {
        let detail = format!(r#"[{{"type":"git_repository","identifier":"payments","{member}":null}}]"#);
        let answer = app.exchange(&app.proof(), &[("authorization_details", &detail)]).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "details_invalid"),
            "{member}: {answer:?}"
        );
    }
    app.finish().await;
}

/// What stands in an address stands in logs: a token in one is refused, and so is everything else there.
#[tokio::test]
async fn an_address_with_a_query_is_refused() {
    let app = TestApp::start(Backend::Memory).await;
    let proof = app.proof();
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", proof.as_str()),
    ];
    for query in ["?", "?scope=payments:read", "?subject_token=a.b.c", "?x"] {
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
            let operator = (path == "/oauth/introspect").then(|| app.operator.clone());
            let answer = app.post_form(&format!("{path}{query}"), &form, operator.as_deref()).await;
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (400, "parameter_invalid"),
                "{path}{query}"
            );
            assert!(!answer.text.contains("a.b.c") && answer.text.contains("query"), "{}", answer.text);
        }
    }
    let answer = app.post_form("/oauth/token", &form, None).await;
    app.note_released(&answer.token());
    app.finish().await;
}

/// (parameters beside a good proof, `error`, `reason`, what the description must name)
type Beyond = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static [&'static str]);

const BEYOND: &[Beyond] = &[
    (
        &[("scope", "payments:read nope:x other:y")],
        "invalid_scope",
        "scope_not_registered",
        &["nope:x", "other:y"],
    ),
    (
        &[("scope", "payments:merge")],
        "access_denied",
        "approval_required",
        &["payments:merge", "team-payments"],
    ),
    (
        &[("resource", "https://evil.example")],
        "invalid_target",
        "target_not_registered",
        &["https://evil.example"],
    ),
    (&[("audience", "https://evil.example")], "invalid_target", "target_not_registered", &["evil.example"]),
    (
        &[(
            "authorization_details",
            r#"[{"type":"git_repository","identifier":"payments","refs":["refs/heads/main"]}]"#,
        )],
        "invalid_authorization_details",
        "details_not_registered",
        &["refs/heads/main"],
    ),
    (
        &[("authorization_details", r#"[{"type":"git_repository","identifier":"payments","surprise":1}]"#)],
        "invalid_authorization_details",
        "details_invalid",
        &[],
    ),
    (&[("authorization_details", "[]")], "invalid_authorization_details", "details_invalid", &[]),
    (&[("authorization_details", "nonsense")], "invalid_authorization_details", "details_invalid", &[]),
    (
        &[("resource", "https://github.com"), ("scope", "ledger:GET")],
        "invalid_scope",
        "scope_not_registered",
        &["ledger:GET"],
    ),
];

#[tokio::test]
async fn asking_beyond_is_refused_naming_each_word() {
    let app = TestApp::start(Backend::Memory).await;
    for (parameters, error, reason, named) in BEYOND {
        let answer = app.exchange(&app.proof(), parameters).await;
        let body = answer.json();
        assert_eq!(answer.status, 400, "{parameters:?}: {}", answer.text);
        assert_eq!((&body["error"], &body["reason"]), (&json!(error), &json!(reason)), "{parameters:?}");
        assert_eq!(body["request_id"], answer.header("x-request-id"));
        let description = body["error_description"].as_str().unwrap();
        assert!(named.iter().all(|word| description.contains(word)), "{parameters:?}: {description}");
    }
    let refused = app.events("kind=token.refused").await;
    assert_eq!(refused.len(), BEYOND.len());
    assert!(refused.iter().all(|event| event["agent"] == "payments-refactorer"));
    app.finish().await;
}

#[tokio::test]
async fn a_caller_that_matches_no_agent_learns_a_code_and_an_id() {
    let app = TestApp::start(Backend::Memory).await;
    let mut near = app.claims();
    near["ref"] = json!("refs/heads/other");
    let mut far = app.claims();
    far["repository_id"] = json!("1");
    far["ref"] = json!("x");
    let mut texts = Vec::new();
    for claims in [near, far] {
        let answer = app.exchange(&app.issuer.token(claims), &[("scope", "payments:read")]).await;
        let mut body = answer.json();
        assert_eq!((answer.status, answer.reason().as_str()), (400, "no_agent"));
        body.as_object_mut().unwrap().remove("request_id");
        texts.push(body.to_string());
        assert!(!answer.text.contains("payments"), "{}", answer.text);
    }
    assert_eq!(texts[0], texts[1], "near misses read the same");
    app.finish().await;
}

#[tokio::test]
async fn the_form_is_strict() {
    let app = TestApp::start(Backend::Memory).await;
    let proof = app.proof();
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let good = [("grant_type", exchange), ("subject_token", proof.as_str()), ("subject_token_type", jwt)];
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let cases: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (with(&[("scope", "payments:read"), ("scope", "ledger:GET")]), "parameter_repeated"),
        (with(&[("client_secret", "x")]), "parameter_unknown"),
        (with(&[("actor_token", "x")]), "parameter_invalid"),
        (with(&[("actor", "x")]), "parameter_unknown"),
        (with(&[("assertion", "x")]), "parameter_invalid"),
        (with(&[("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")]), "parameter_invalid"),
        (good[1..].to_vec(), "parameter_missing"),
        (good[..2].to_vec(), "parameter_missing"),
        (vec![("grant_type", "password"), ("subject_token", &proof)], "grant_type_unsupported"),
        (
            vec![("grant_type", exchange), ("subject_token", &proof), ("subject_token_type", "x")],
            "parameter_invalid",
        ),
    ];
    for (form, reason) in cases {
        let answer = app.post_form("/oauth/token", &form, None).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason), "{}", answer.text);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_that_is_no_form_or_too_large_is_refused() {
    let app = TestApp::start(Backend::Memory).await;
    let url = format!("{}/oauth/token", app.public);
    let json = app.http().post(&url).header("content-type", "application/json").body("{}");
    assert_eq!(app.send(json).await.reason(), "body_invalid");
    let form = |body: Vec<u8>| {
        app.http().post(&url).header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(app.send(form(b"scope=\xff".to_vec())).await.reason(), "body_invalid");
    let huge = app.send(form(vec![b'a'; 70 * 1024])).await;
    assert_eq!((huge.status, huge.reason().as_str()), (413, "too_large"));
    let token = "a".repeat(17 * 1024);
    let huge = app.exchange(&token, &[]).await;
    assert_eq!((huge.status, huge.reason().as_str()), (413, "too_large"));
    let get = app.send(app.http().get(&url)).await;
    assert_eq!(get.status, 405);
    app.finish().await;
}

#[tokio::test]
async fn other_grants_carry_the_same_proof() {
    let app = TestApp::start(Backend::Memory).await;
    let bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let answer =
        app.post_form("/oauth/token", &[("grant_type", bearer), ("assertion", &app.proof())], None).await;
    app.note_released(&answer.token());
    let bad = app.post_form("/oauth/token", &[("grant_type", bearer), ("assertion", "a.b.c")], None).await;
    assert_eq!((bad.status, bad.json()["error"].as_str()), (400, Some("invalid_grant")));
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let form = [("grant_type", exchange), ("subject_token", &app.proof()), ("subject_token_type", id_token)];
    let answer = app.post_form("/oauth/token", &form, None).await;
    app.note_released(&answer.token());
    app.finish().await;
}

#[tokio::test]
async fn metadata_is_enough_for_a_client() {
    let app = TestApp::start(Backend::Memory).await;
    let url = format!("{}/.well-known/oauth-authorization-server", app.public);
    let metadata = app.send(app.http().get(url)).await.json();
    let jwks = app.send(app.http().get(format!("{}/.well-known/jwks.json", app.public))).await.json();
    let kids: Vec<&Value> = jwks["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    let token = app.issue().await;
    use base64::Engine;
    let header =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["typ"], "at+jwt");
    assert!(kids.contains(&&header["kid"]), "{kids:?}");
    assert!(
        metadata["access_token_signing_alg_values_supported"].as_array().unwrap().contains(&header["alg"])
    );
    insta::assert_json_snapshot!(metadata);
    // The same where OpenID Connect looks for it, with what is required there.
    let url = format!("{}/.well-known/openid-configuration", app.public);
    let mut openid = app.send(app.http().get(url)).await.json();
    let mut take = |member: &str| openid.as_object_mut().unwrap().remove(member);
    assert_eq!(take("subject_types_supported"), Some(json!(["public"])));
    let algorithms = take("id_token_signing_alg_values_supported");
    assert_eq!(algorithms.as_ref(), metadata.get("access_token_signing_alg_values_supported"));
    assert_eq!(openid, metadata);
    app.finish().await;
}

/// The address is there for SDKs that read no metadata without it.
#[tokio::test]
async fn the_authorization_endpoint_refuses_and_sends_nobody_anywhere() {
    let app = TestApp::start(Backend::Memory).await;
    let endpoint = format!("{}/oauth/authorize", app.public);
    let query = "?response_type=code&client_id=x&redirect_uri=https%3A%2F%2Fevil.test%2F&state=canary";
    for request in
        [app.http().get(format!("{endpoint}{query}")), app.http().post(&endpoint).body("response_type=code")]
    {
        let answer = app.send(request).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["error"]), (400, &json!("unsupported_response_type")), "{answer:?}");
        assert_eq!(body["reason"], "response_type_unsupported");
        assert!(!answer.headers.contains_key("location") && !answer.text.contains("canary"), "{answer:?}");
    }
    app.finish().await;
}

/// `resource` of RFC 8707 as MCP clients send it: an origin, with or without a slash, or the resource's own URL.
#[tokio::test]
async fn a_resource_may_be_the_url_of_what_is_registered() {
    let app = TestApp::start(Backend::Memory).await;
    for (resource, scope) in [
        ("https://github.com/acme/payments", "payments:read payments:push"),
        ("https://github.com/acme/payments/", "payments:read payments:push"),
        ("https://ledger.staging.acme.internal/", "ledger:GET"),
    ] {
        let answer =
            app.exchange(&app.proof(), &[("resource", resource), ("state", "x"), ("nonce", "y")]).await;
        app.note_released(&answer.token());
        assert_eq!(answer.json()["scope"], scope, "{resource}");
    }
    for resource in [
        "https://github.com/acme",
        "https://github.com/acme/payments/x",
        "https://ledger.staging.acme.internal/v1",
    ] {
        let answer = app.exchange(&app.proof(), &[("resource", resource)]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "target_not_registered"), "{resource}");
        assert!(answer.text.contains(resource), "{answer:?}");
    }
    let answer = app.exchange(&app.proof(), &[("scopes", "ledger:GET")]).await;
    let description = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(
        description.starts_with("scopes is an unknown parameter, perhaps scope is meant"),
        "{description}"
    );
    app.finish().await;
}

#[tokio::test]
async fn rates_hold_for_an_agent_and_for_refusals_alone() {
    let app =
        TestApp::with(Backend::Memory, "[limits]\ntokens_per_minute = 30\nrefusals_per_minute = 5").await;
    let mut refusals = Vec::new();
    for _ in 0..8 {
        refusals.push(app.exchange("a.b.c", &[]).await);
    }
    assert!(refusals[..5].iter().all(|answer| answer.status == 400), "{refusals:?}");
    for refused in &refusals[5..] {
        assert_eq!((refused.status, refused.reason().as_str()), (429, "rate_limited"));
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait));
    }
    // A fleet behind the same address still gets its tokens.
    for _ in 0..30 {
        app.issue().await;
    }
    let over = app.exchange(&app.proof(), &[]).await;
    assert_eq!((over.status, over.reason().as_str()), (429, "rate_limited"));
    // What was over the rate is not in the log one by one.
    assert_eq!(app.events("kind=token.refused").await.len(), 5);
    app.finish().await;
}
