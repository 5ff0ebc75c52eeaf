//! Tokens bound to the caller's key (RFC 9449), through a whole broker.

use std::fs;

use hallpass::domain::digest::Digest;
use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, Answer, BOTH, Backend, PAYMENTS, TestApp, decode};
use crate::support::signer::{Signer, base64url, der};

mod attacks;
mod command;

const ENDPOINT: &str = "https://hallpass.test/oauth/token";

/// A caller with a key of its own.
pub(crate) struct Holder(Signer);

impl Holder {
    pub(crate) fn new() -> Self {
        Self(Signer::es256("dpop"))
    }

    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": self.0.alg(), "jwk": self.0.public_jwk()})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.0.compact(header["alg"].as_str().unwrap_or("ES256"), header.to_string(), claims.to_string())
    }

    /// A good proof.
    pub(crate) fn proof(&self, app: &TestApp) -> String {
        self.sign(&self.header(), &claims(app))
    }

    fn proof_with(&self, app: &TestApp, member: &str, value: impl Into<Value>) -> String {
        let mut claims = claims(app);
        claims[member] = value.into();
        self.sign(&self.header(), &claims)
    }

    /// RFC 7638, written out anew.
    fn thumbprint(&self) -> String {
        let jwk = self.0.public_jwk();
        let names: &[&str] = match jwk["kty"].as_str() {
            Some("EC") => &["crv", "kty", "x", "y"],
            Some("OKP") => &["crv", "kty", "x"],
            _ => &["e", "kty", "n"],
        };
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":{}", jwk[name])).collect();
        base64url(Digest::of(format!("{{{}}}", members.join(",")).as_bytes()).0)
    }
}

/// What a proof says now, with a `jti` of its own.
fn claims(app: &TestApp) -> Value {
    let jti =
        base64url(ring::rand::generate::<[u8; 16]>(&crate::support::signer::random()).unwrap().expose());
    json!({"jti": jti, "htm": "POST", "htu": ENDPOINT, "iat": app.hands.now().seconds()})
}

pub(crate) async fn post(app: &TestApp, form: &[(&str, &str)], proofs: &[&str]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = app
        .http()
        .post(format!("{}/oauth/token", app.public))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    for proof in proofs {
        request = request.header("DPoP", *proof);
    }
    let answer = app.send(request).await;
    if answer.status == 200 {
        app.note_released(&answer.token());
    }
    answer
}

/// A token exchange with a good proof of identity and these `DPoP` headers.
pub(crate) async fn exchange(app: &TestApp, proofs: &[&str], more: &[(&str, &str)]) -> Answer {
    let identity = app.proof();
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", identity.as_str()),
    ];
    form.extend_from_slice(more);
    post(app, &form, proofs).await
}

fn refused(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    (answer.status, body["error"].as_str().unwrap_or_default().to_owned(), answer.reason())
}

fn is(status: u16, error: &str, reason: &str) -> (u16, String, String) {
    (status, error.to_owned(), reason.to_owned())
}

/// Starts `app` again with another agent file.
async fn reboot_with(app: &mut TestApp, agent: &str) {
    app.shutdown().await;
    fs::write(app.file("agents/payments-refactorer.toml"), agent).unwrap();
    app.boot().await;
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_that_was_proven() {
    let es384 = der(include_str!("../vectors/keys/es384.test-only.pem"));
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let es384 = Signer::of_pkcs8("dpop", "ES384", &es384);
        for key in [Signer::es256("dpop"), Signer::ed25519("dpop"), es384, Signer::rs256("dpop")] {
            let holder = Holder(key);
            let answer = exchange(&app, &[&holder.proof(&app)], &[]).await;
            let token = answer.token();
            assert_eq!(answer.json()["token_type"], "DPoP");
            assert_eq!(answer.header("dpop-nonce"), "", "nonces are not asked for");
            let cnf = json!({"jkt": holder.thumbprint()});
            assert_eq!(decode(&token)["cnf"], cnf, "{}", holder.0.alg());
            let told = app.introspect(&token).await;
            assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("DPoP")));
            assert_eq!(told["cnf"], cnf);
            let jti = decode(&token)["jti"].as_str().unwrap().to_owned();
            assert_eq!(app.events(&format!("token={jti}")).await[0]["cnf"], cnf);
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn each_algorithm_of_the_metadata_serves() {
    let app = TestApp::start(Backend::Memory).await;
    let metadata = app.http().get(format!("{}/.well-known/oauth-authorization-server", app.public));
    let metadata = app.send(metadata).await.json();
    let algorithms = metadata["dpop_signing_alg_values_supported"].as_array().unwrap();
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert!(algorithms.contains(&json!(alg)), "{alg}");
        let holder = Holder(Signer::rs256("dpop"));
        let mut header = holder.header();
        header["alg"] = json!(alg);
        let answer = exchange(&app, &[&holder.sign(&header, &claims(&app))], &[]).await;
        assert_eq!(decode(&answer.token())["cnf"]["jkt"], holder.thumbprint(), "{alg}");
    }
    assert!(!algorithms.iter().any(|alg| alg == "none" || alg.as_str().unwrap().starts_with("HS")));
    app.finish().await;
}

#[tokio::test]
async fn without_a_proof_it_is_a_bearer_token() {
    let app = TestApp::start(Backend::Memory).await;
    let answer = exchange(&app, &[], &[]).await;
    assert_eq!(answer.json()["token_type"], "Bearer");
    let told = app.introspect(&answer.token()).await;
    assert_eq!((&told["token_type"], &told["cnf"]), (&json!("Bearer"), &Value::Null));
    assert_eq!(app.events("kind=token.issued").await[0]["cnf"], Value::Null);
    app.finish().await;
}

#[tokio::test]
async fn an_export_tells_what_a_token_is_bound_to() {
    let app = TestApp::start(Backend::Memory).await;
    let holder = Holder::new();
    exchange(&app, &[&holder.proof(&app)], &[]).await.token();
    let csv = app.admin_get("/v1/audit/export?format=csv&kind=token.issued").await;
    let cell = format!("\"{{\"\"jkt\"\":\"\"{}\"\"}}\"", holder.thumbprint());
    assert!(csv.text.contains(&cell), "{}", csv.text);
    app.finish().await;
}

#[tokio::test]
async fn an_agent_file_can_demand_a_constraint() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        reboot_with(&mut app, &format!("require = \"sender-constrained\"\n{PAYMENTS}")).await;
        let holder = Holder::new();
        let answer = exchange(&app, &[], &[]).await;
        assert_eq!(refused(&answer), is(400, "invalid_request", "sender_constraint_required"));
        let event = &app.events("kind=token.refused").await[0];
        assert_eq!(event["reason"], "sender_constraint_required");
        assert_eq!(event["agent"], "payments-refactorer");
        // A bad proof is no proof.
        let bad = exchange(&app, &[&holder.proof_with(&app, "htm", "GET")], &[]).await;
        assert_eq!(refused(&bad), is(400, "invalid_dpop_proof", "dpop_proof_invalid"));
        let answer = exchange(&app, &[&holder.proof(&app)], &[]).await;
        assert_eq!(decode(&answer.token())["cnf"]["jkt"], holder.thumbprint());
        // Operators see the demand, where they look at the agent and where they ask what would happen.
        let shown = app.admin_get("/v1/agents/payments-refactorer").await.json();
        let explained = app.admin_post("/v1/explain", &json!({"agent": "payments-refactorer"})).await.json();
        assert_eq!(
            (&shown["require"], &explained["require"]),
            (&json!("sender-constrained"), &shown["require"])
        );
        app.finish().await;
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_by_a_proof() {
    let mut app = TestApp::start(Backend::Memory).await;
    reboot_with(&mut app, &format!("require = \"sender-constrained\"\n{PAYMENTS}")).await;
    let mut claims = app.claims();
    claims["repository_id"] = json!("1");
    let stranger = app.issuer.token(claims);
    let form =
        [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", stranger.as_str())];
    let good = Holder::new().proof(&app);
    for proofs in [&[][..], &["a.b.c"], &[good.as_str()]] {
        assert_eq!(refused(&post(&app, &form, proofs).await), is(400, "invalid_request", "no_agent"));
    }
    app.finish().await;
}

/// The agent's file with a registered key besides, and an assertion of it.
fn with_key(key: &Signer) -> String {
    let x = key.public_jwk()["x"].as_str().unwrap().to_owned();
    PAYMENTS.replace(
        "[[repository]]",
        &format!("[[identity]]\nkey = {{ kty = \"OKP\", crv = \"Ed25519\", x = \"{x}\" }}\n\n[[repository]]"),
    )
}

fn assertion(app: &TestApp, key: &Signer, jti: &str) -> String {
    let now = app.hands.now().seconds();
    let agent = "payments-refactorer";
    key.token(&json!({"iss": agent, "sub": agent, "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": jti}))
}

fn credentials(assertion: &str) -> [(&str, &str); 3] {
    [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ]
}

/// RFC 9449 §8: the client is told a nonce, and sends the same request again with it.
#[tokio::test]
async fn nonces_are_given_demanded_and_grow_old() {
    for backend in BOTH {
        let mut app = TestApp::with(backend, "[token]\ndpop_nonce = true").await;
        let key = Signer::ed25519("agent");
        reboot_with(&mut app, &with_key(&key)).await;
        let holder = Holder::new();
        let assertion = assertion(&app, &key, "one");
        let form = credentials(&assertion);
        let first = post(&app, &form, &[&holder.proof(&app)]).await;
        assert_eq!(refused(&first), is(400, "use_dpop_nonce", "dpop_nonce_required"));
        assert_eq!(first.header("cache-control"), "no-store");
        let nonce = first.header("dpop-nonce").to_owned();
        assert!(nonce.len() > 20, "{nonce}");
        let with_nonce = holder.proof_with(&app, "nonce", nonce.as_str());
        let second = post(&app, &form, &[&with_nonce]).await;
        assert_eq!(decode(&second.token())["cnf"]["jkt"], holder.thumbprint());
        assert!(!second.header("dpop-nonce").is_empty(), "the next one comes with the token");
        let third = post(&app, &form, &[&holder.proof_with(&app, "nonce", nonce.as_str())]).await;
        assert_eq!(refused(&third), is(401, "invalid_client", "replayed"));
        // Nobody's nonce, and one of two windows ago.
        let forged = holder.proof_with(&app, "nonce", "A".repeat(43));
        assert_eq!(refused(&exchange(&app, &[&forged], &[]).await).2, "dpop_nonce_required");
        app.hands.push(120);
        let old = holder.proof_with(&app, "nonce", nonce.as_str());
        assert_eq!(refused(&exchange(&app, &[&old], &[]).await).2, "dpop_nonce_required");
        // Who sends no proof needs no nonce.
        assert_eq!(exchange(&app, &[], &[]).await.json()["token_type"], "Bearer");
        app.finish().await;
    }
}

/// Both proofs of one request may have one `jti`, for they are recorded apart.
#[tokio::test]
async fn an_assertion_and_a_proof_are_not_taken_for_one_another() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        let key = Signer::ed25519("agent");
        reboot_with(&mut app, &with_key(&key)).await;
        let holder = Holder(Signer::of_pkcs8(
            "dpop",
            "ES256",
            &der(include_str!("../vectors/keys/es256.test-only.pem")),
        ));
        let assertion = assertion(&app, &key, "same");
        let proof = holder.proof_with(&app, "jti", "same");
        assert_eq!(post(&app, &credentials(&assertion), &[&proof]).await.json()["token_type"], "DPoP");
        // Neither serves as the other.
        let swapped = post(&app, &credentials(&proof), &[&assertion]).await;
        assert_eq!(refused(&swapped).2, "proof_malformed");
        let other = exchange(&app, &[&assertion], &[]).await;
        assert_eq!(refused(&other), is(400, "invalid_dpop_proof", "dpop_proof_invalid"));
        app.finish().await;
    }
}
