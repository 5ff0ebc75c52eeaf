//! The limit: an axum server that does nothing, and one that only verifies a proof and signs a token,
//! with the same crypto and the same form over the same HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use url::form_urlencoded;

/// Set for the process that is the server; its value is the platform's public key.
pub(crate) const MARK: &str = "BENCH_BASELINE";

struct Bare {
    platform: UnparsedPublicKey<Vec<u8>>,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

#[expect(clippy::disallowed_methods, reason = "the bench signs with real keys")]
pub(crate) fn serve() {
    let platform = URL_SAFE_NO_PAD.decode(std::env::var(MARK).expect("a key")).expect("base64url");
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
    let platform = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, platform);
    let router = Router::new()
        .route("/empty", get(|| async { "" }))
        .route("/oauth/token", post(exchange))
        .with_state(Arc::new(Bare { platform, key, random }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        print_line(&listener.local_addr().expect("bound").to_string());
        axum::serve(listener, router).await.expect("served");
    });
}

fn print_line(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("a reader");
}

async fn exchange(State(bare): State<Arc<Bare>>, body: String) -> String {
    let proof = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "subject_token");
    let proof = proof.expect("a proof").1;
    let (input, signature) = proof.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    bare.platform.verify(input.as_bytes(), &signature).expect("a good signature");
    let claims = URL_SAFE_NO_PAD.decode(input.split('.').nth(1).expect("a payload")).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "bare"});
    let token = json!({"iss": "bare", "sub": claims["sub"], "iat": claims["iat"], "exp": claims["exp"],
        "scope": "payments:read payments:push"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(&token));
    let signature = bare.key.sign(&bare.random, input.as_bytes()).expect("signed");
    json!({"access_token": format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)), "token_type": "Bearer"})
        .to_string()
}
