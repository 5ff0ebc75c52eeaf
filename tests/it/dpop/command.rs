//! `hallpass token` and `hallpass run` with a key to bind the token to: the real program, a real broker.

use hallpass::domain::digest::Digest;
use serde_json::{Value, json};
use tokio::process::Command;

use super::reboot_with;
use crate::delegation::sub_agent;
use crate::support::broker::{Backend, PAYMENTS, TestApp, decode};
use crate::support::command::{HALLPASS, bare, hallpass, ran};
use crate::support::signer::base64url;

/// A new key in this file, and `x` of its JWK.
async fn keygen(app: &TestApp, name: &str) -> (String, String) {
    let file = app.file(name).to_str().unwrap().to_owned();
    let mut command = bare(HALLPASS);
    command.args(["keygen", "--out", &file]);
    let done = ran(command).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let x = done.out.split("x = \"").nth(1).and_then(|rest| rest.split('"').next());
    (file, x.expect("a key for an agent file").to_owned())
}

/// RFC 7638, written out anew.
fn cnf(x: &str) -> Value {
    let jwk = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
    json!({"jkt": base64url(Digest::of(jwk.as_bytes()).0)})
}

/// With the proof of a CI job.
fn in_a_job(app: &TestApp, args: &[&str]) -> Command {
    in_a_job_of(app, app.claims(), args)
}

fn in_a_job_of(app: &TestApp, mut claims: Value, args: &[&str]) -> Command {
    claims["aud"] = json!(app.public);
    let mut command = hallpass(app, args);
    command.env("HALLPASS_IDENTITY_TOKEN", app.issuer.token(claims)).env("XDG_RUNTIME_DIR", app.file(""));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_bound_to_a_key_of_the_callers() {
    for more in ["", "[token]\ndpop_nonce = true"] {
        let mut app = TestApp::at_its_own_address(Backend::Memory, more).await;
        let (dpop, x) = keygen(&app, "dpop.key").await;
        let (registered, public) = keygen(&app, "agent.key").await;
        let identity = format!(
            "[[identity]]\nkey = {{ kty = \"OKP\", crv = \"Ed25519\", x = \"{public}\" }}\n\n[[repository]]"
        );
        let agent = PAYMENTS.replacen("[[repository]]", &identity, 1);
        reboot_with(&mut app, &format!("require = \"sender-constrained\"\n{agent}")).await;

        let without = ran(in_a_job(&app, &["token"])).await;
        assert_eq!((without.code, without.out.as_str()), (Some(3), ""), "{without:?}");
        assert!(without.err.contains("remedy: bind the token to a key: --dpop-key FILE"), "{without:?}");

        let answer = ran(in_a_job(&app, &["token", "--dpop-key", &dpop, "--format", "json"])).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!(answer["token_type"], "DPoP");
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(app.introspect(token).await["cnf"], cnf(&x));

        // An assertion is good once: the try that asked for a nonce has not used it up.
        let key = ["--key-file", &registered, "--agent", "payments-refactorer", "--dpop-key", &dpop];
        let line = ran(in_a_job(&app, &[&["token", "--format", "header"], &key[..]].concat())).await;
        let token =
            line.out.trim().strip_prefix("Authorization: DPoP ").unwrap_or_else(|| panic!("{line:?}"));
        assert_eq!(decode(token)["cnf"], cnf(&x));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_a_token_that_is_bound() {
    let app = TestApp::at_its_own_address(Backend::Memory, "[token]\ndpop_nonce = true").await;
    let (dpop, x) = keygen(&app, "dpop.key").await;
    let show = "cat \"$HALLPASS_TOKEN_FILE\"";
    let done = ran(in_a_job(&app, &["run", "--dpop-key", &dpop, "--", "sh", "-c", show])).await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(decode(done.out.trim())["cnf"], cnf(&x));
    assert!(!app.active(done.out.trim()).await, "ended (RFC 7009)");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_told_before_anything_is_asked() {
    let app = TestApp::at_its_own_address(Backend::Memory, "").await;
    let file = app.file("agents/payments-refactorer.toml");
    let done = ran(in_a_job(&app, &["token", "--dpop-key", file.to_str().unwrap()])).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert!(done.err.contains("is not an Ed25519 key in PKCS#8 PEM"), "{done:?}");
    assert!(done.err.contains("remedy: make one with `hallpass keygen`"), "{done:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_handed_down_by_proof_of_its_key() {
    for more in ["", "[token]\ndpop_nonce = true"] {
        let mut app = TestApp::at_its_own_address(Backend::Memory, more).await;
        let (dpop, x) = keygen(&app, "dpop.key").await;
        let (other, _) = keygen(&app, "other.key").await;
        std::fs::write(app.file("agents/test-runner.toml"), sub_agent("1001", "team-qa", "")).unwrap();
        reboot_with(&mut app, &format!("may_delegate_to = [\"test-runner\"]\n{PAYMENTS}")).await;
        let parent = ran(in_a_job(&app, &["token", "--dpop-key", &dpop, "--format", "token"])).await;
        assert_eq!(parent.code, Some(0), "{parent:?}");
        let file = app.file("parent");
        std::fs::write(&file, &parent.out).unwrap();
        let mut child = app.claims();
        child["repository_id"] = json!("1001");
        child["sub"] = json!("repo:acme/tools-1001:ref:refs/heads/main");
        let hand = async |more: &[&str]| {
            let args = ["token", "--format", "json", "--parent-token-file", file.to_str().unwrap()];
            ran(in_a_job_of(&app, child.clone(), &[&args[..], more].concat())).await
        };
        let handed = hand(&["--dpop-key", &dpop]).await;
        assert_eq!(handed.code, Some(0), "{handed:?}");
        let answer: Value = serde_json::from_str(&handed.out).unwrap();
        let claims = decode(answer["access_token"].as_str().unwrap());
        assert_eq!((&answer["token_type"], &claims["cnf"]), (&json!("DPoP"), &cnf(&x)));
        assert_eq!(claims["act"], json!({"sub": "agent:test-runner"}));
        // With another key, or none, the thief of the parent's token has nothing.
        for more in [&["--dpop-key", other.as_str()][..], &[]] {
            let refused = hand(more).await;
            assert!(refused.code == Some(3) && refused.err.contains("parent_bound"), "{refused:?}");
            assert!(refused.out.is_empty());
        }
        app.finish().await;
    }
}
