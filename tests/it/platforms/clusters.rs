//! Clusters that call themselves the same.

use std::fs;

use serde_json::{Value, json};

use super::agent;
use crate::support::broker::{Backend, TestApp, decode};
use crate::support::issuer::Issuer;
use crate::support::signer::Signer;

const ISS: &str = "https://kubernetes.default.svc";

/// Two clusters with the same `iss`, `kid` and `sub`, told apart by audience, and an agent of each.
struct Clusters {
    app: TestApp,
    a: Issuer,
    b: Issuer,
}

impl Clusters {
    async fn start() -> Self {
        let (a, b) = (
            Issuer::with_signers(vec![Signer::es256("k")]).await,
            Issuer::with_signers(vec![Signer::es256("k")]).await,
        );
        let issuer = |name: &str, keys: &Issuer| {
            format!(
                "[[issuer]]\nname = 'cluster-{name}'\nkind = 'kubernetes'\nurl = '{ISS}'\n\
                 audience = 'hallpass-{name}'\njwks_url = '{}'\n",
                keys.jwks_url()
            )
        };
        let more = format!("{}{}", issuer("a", &a), issuer("b", &b));
        let mut app = TestApp::with(Backend::Memory, &more).await;
        app.shutdown().await;
        for name in ["a", "b"] {
            let text = agent(&format!("cluster-{name}"), "{ sub = 'system:serviceaccount:agents:x' }");
            fs::write(app.file(&format!("agents/of-{name}.toml")), text).unwrap();
        }
        app.boot().await;
        Self { app, a, b }
    }

    fn claims(&self, audience: Value) -> Value {
        let now = self.app.hands.now().seconds();
        json!({"iss": ISS, "sub": "system:serviceaccount:agents:x", "aud": audience, "iat": now, "exp": now + 300})
    }
}

#[tokio::test]
async fn clusters_of_the_same_name_never_cross() {
    let clusters = Clusters::start().await;
    let Clusters { app, a, b } = &clusters;
    for (signer, audience, agent) in [(a, "hallpass-a", "agent:of-a"), (b, "hallpass-b", "agent:of-b")] {
        for audience in [json!(audience), json!(["https://kubernetes.default.svc", audience])] {
            let answer = app.exchange(&signer.token(clusters.claims(audience)), &[]).await;
            assert_eq!(decode(&answer.token())["sub"], agent);
        }
    }
    for (what, signer, audience, reason) in [
        ("a's key for b", a, json!("hallpass-b"), "signature_invalid"),
        ("b's key for a", b, json!("hallpass-a"), "signature_invalid"),
        ("both audiences", a, json!(["hallpass-a", "hallpass-b"]), "audience_mismatch"),
        ("both, the other way round", b, json!(["hallpass-a", "hallpass-b"]), "audience_mismatch"),
        ("neither", a, json!("https://kubernetes.default.svc"), "audience_mismatch"),
        ("none", a, json!([]), "claim_invalid"),
        ("an audience that begins alike", a, json!("hallpass-a2"), "audience_mismatch"),
        ("an audience of other case", a, json!("Hallpass-a"), "audience_mismatch"),
        ("one of another issuer", a, json!(crate::support::broker::AUDIENCE), "audience_mismatch"),
    ] {
        let answer = app.exchange(&signer.token(clusters.claims(audience)), &[]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason), "{what}: {}", answer.text);
    }
    let mut without = clusters.claims(json!("x"));
    without.as_object_mut().unwrap().remove("aud");
    assert_eq!(app.exchange(&a.token(without), &[]).await.reason(), "claim_missing");
    clusters.app.finish().await;
}

#[tokio::test]
async fn a_stop_of_one_cluster_leaves_the_other() {
    let clusters = Clusters::start().await;
    let Clusters { app, a, b } = &clusters;
    app.revoke("issuer:cluster-a").await;
    let of_a = app.exchange(&a.token(clusters.claims(json!("hallpass-a"))), &[]).await;
    assert_eq!(of_a.reason(), "revoked");
    app.exchange(&b.token(clusters.claims(json!("hallpass-b"))), &[]).await.token();
    clusters.app.finish().await;
}
