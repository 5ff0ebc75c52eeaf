//! A local OIDC issuer for the demo: what GitHub or GitLab are to a real broker.

use std::net::Ipv4Addr;

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::domain::random::Random;

/// A running issuer; it ends with the demo's runtime.
pub(super) struct Issuer {
    pub(super) url: String,
    key: EcdsaKeyPair,
    random: Random,
}

impl Issuer {
    pub(super) async fn start(random: Random) -> anyhow::Result<Self> {
        let failed = |_| anyhow::anyhow!("cannot make a key for the demo's issuer");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, random.source()).map_err(failed)?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), random.source())
            .map_err(|_| anyhow::anyhow!("cannot read the key of the demo's issuer"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let keys = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo", "x": x, "y": y}
        ]});
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/jwks")});
        let serve = |document: Value| get(move || async { Json(document) });
        let router = Router::new()
            .route("/.well-known/openid-configuration", serve(discovery))
            .route("/jwks", serve(keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, key, random })
    }

    /// What the platform gives to a job: its identity, signed.
    pub(super) fn token(&self, claims: &Value) -> anyhow::Result<String> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "demo"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let signature = self.key.sign(self.random.source(), input.as_bytes());
        let signature = signature.map_err(|_| anyhow::anyhow!("the demo's issuer cannot sign"))?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
