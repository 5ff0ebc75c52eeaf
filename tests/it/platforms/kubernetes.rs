//! Kubernetes' projected service account tokens.

use serde_json::{Value, json};

use super::{Hostile, NO_AGENT, World, agent};
use crate::support::broker::{AUDIENCE, Backend, TestApp};
use crate::support::issuer::Issuer;

const UID: &str = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798";

/// As «Managing Service Accounts» shows them.
fn claims() -> Value {
    json!({
        "jti": "f6d8c9a0-2b3c-4d5e-8f90-a1b2c3d4e5f6",
        "kubernetes.io": {
            "namespace": "agents",
            "node": {"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
            "pod": {"name": "refactorer-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
            "serviceaccount": {"name": "refactorer", "uid": UID},
            "warnafter": 1_795_000_000
        },
        "sub": "system:serviceaccount:agents:refactorer"
    })
}

#[tokio::test]
async fn a_pod_is_known_by_the_uid_of_its_service_account() {
    let rule = format!(
        r#"{{ sub = "system:serviceaccount:agents:refactorer", "kubernetes.io.namespace" = "agents", "kubernetes.io.serviceaccount.uid" = "{UID}" }}"#
    );
    const OTHER: &str = "aaaaaaaa-a7e2-420f-9f9a-dbc4507c3798";
    let hostile: &[Hostile] = &[
        (
            "a service account made again",
            |c| c["kubernetes.io"]["serviceaccount"]["uid"] = json!(OTHER),
            NO_AGENT,
        ),
        ("another namespace", |c| c["kubernetes.io"]["namespace"] = json!("mallory"), NO_AGENT),
        ("another service account", |c| c["sub"] = json!("system:serviceaccount:agents:default"), NO_AGENT),
        (
            "no uid",
            |c| drop(c["kubernetes.io"]["serviceaccount"].as_object_mut().unwrap().remove("uid")),
            NO_AGENT,
        ),
        ("nothing nested", |c| drop(c.as_object_mut().unwrap().remove("kubernetes.io")), NO_AGENT),
        (
            "a claim that is called as the nested one, in its place",
            |c| {
                c["kubernetes.io"]["serviceaccount"]["uid"] = json!(OTHER);
                c["kubernetes.io.serviceaccount.uid"] = json!(UID);
            },
            "claim_invalid",
        ),
        ("the same beside it", |c| c["kubernetes.io.serviceaccount.uid"] = json!(UID), "claim_invalid"),
        ("the same in other case", |c| c["Kubernetes.io.serviceaccount.uid"] = json!(UID), "claim_invalid"),
        ("the same, of no string", |c| c["kubernetes.io.serviceaccount.uid"] = json!([UID]), "claim_invalid"),
        (
            "a member whose own name has the dot",
            |c| {
                c["kubernetes.io"]["serviceaccount"] = json!({"name": "refactorer"});
                c["kubernetes.io"]["serviceaccount.uid"] = json!(UID);
            },
            NO_AGENT,
        ),
        (
            "the levels the other way round",
            |c| {
                c["kubernetes.io"] = json!({"namespace": "agents"});
                c["kubernetes"] = json!({"io": {"serviceaccount": {"uid": UID}}});
            },
            NO_AGENT,
        ),
        (
            "nested in one of other case",
            |c| {
                let nested = c["kubernetes.io"].take();
                *c = json!({"sub": c["sub"], "iss": c["iss"], "aud": c["aud"], "iat": c["iat"], "exp": c["exp"],
                    "Kubernetes.io": nested});
            },
            "claim_invalid",
        ),
        ("text instead of levels", |c| c["kubernetes.io"] = json!("agents"), NO_AGENT),
        ("a list of levels", |c| c["kubernetes.io"] = json!([c["kubernetes.io"]]), NO_AGENT),
        ("a list of uids", |c| c["kubernetes.io"]["serviceaccount"]["uid"] = json!([UID]), NO_AGENT),
        (
            "the API server's own audience",
            |c| c["aud"] = json!("https://kubernetes.default.svc"),
            "audience_mismatch",
        ),
        (
            "a pod's uid in its place",
            |c| {
                c["kubernetes.io"]["pod"]["uid"] = json!(UID);
                c["kubernetes.io"]["serviceaccount"]["uid"] = json!(OTHER);
            },
            NO_AGENT,
        ),
    ];
    let world = World::start("kubernetes", &rule, claims()).await;
    // A nested claim twice, which the text of a JSON value cannot show.
    let text = world.fresh().to_string();
    let twice = text.replace(&format!("\"uid\":\"{UID}\""), &format!("\"uid\":\"x\",\"uid\":\"{UID}\""));
    assert_ne!(text, twice);
    let answer = world.app.exchange(&world.platform.token_over(&twice), &[]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "proof_malformed"));
    world.hold(hostile).await;
}

#[tokio::test]
async fn nested_claims_are_read_of_kubernetes_alone() {
    let platform = Issuer::start().await;
    let more = format!("[[issuer]]\nname = 'plain'\nurl = '{}'\naudience = '{}'", platform.url(), AUDIENCE);
    let mut app = TestApp::with(Backend::Memory, &more).await;
    app.shutdown().await;
    let file = app.file("agents/agent.toml");
    std::fs::write(&file, agent("plain", &format!("{{ \"kubernetes.io.serviceaccount.uid\" = '{UID}' }}")))
        .unwrap();
    let told = hallpass::config::check(&app.file("hallpass.toml"), []).unwrap_err();
    assert!(told[0].to_string().ends_with(
        "agent.toml:5: identity[0].claims.kubernetes.io.serviceaccount.uid: nested claims are read of Kubernetes \
         alone; write kind = \"kubernetes\" at the issuer, or leave the claim out"
    ));
    std::fs::write(&file, agent("plain", "{ sub = 'system:serviceaccount:agents:refactorer' }")).unwrap();
    app.boot().await;
    let mut token = claims();
    token["iss"] = json!(platform.url());
    token["aud"] = json!(AUDIENCE);
    token["iat"] = json!(app.hands.now().seconds());
    token["exp"] = json!(app.hands.now().seconds() + 60);
    app.exchange(&platform.token(token), &[]).await.token();
    app.finish().await;
}
