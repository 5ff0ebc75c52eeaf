//! The step that the README gives to a job of GitHub Actions, run as a runner runs it: it ends with a token,
//! or it fails.

use std::process::Output;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::process::Command;

use super::{blocks, read};
use crate::support::broker::{Backend, TestApp, decode};
use crate::support::github::{GitHub, REQUEST_TOKEN};
use crate::support::signer::Signer;

/// What stands under `run: |`.
fn step() -> String {
    let readme = read("README.md");
    let shown = blocks(&readme).into_iter().find(|block| block.language == "yaml").expect("a workflow");
    let (_, run) = shown.text.split_once("run: |\n").expect("a step that runs something");
    run.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

/// Runs it as a runner does where the workflow names no shell, and gives what it left in `$GITHUB_ENV`.
async fn run(github: &GitHub, broker: &str) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let env = folder.path().join("env");
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &step()]).env_clear().env("PATH", std::env::var_os("PATH").expect("PATH"));
    bash.env("HALLPASS_URL", broker).env("GITHUB_ENV", &env);
    bash.env("ACTIONS_ID_TOKEN_REQUEST_URL", &github.url);
    bash.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
    let output = bash.output().await.expect("bash");
    (output, std::fs::read_to_string(env).unwrap_or_default())
}

/// What answers in the broker's place, whatever it is asked.
async fn stranger(status: StatusCode, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = axum::Router::new().fallback(move || async move { (status, body).into_response() });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_of_the_readme_gets_a_token_or_fails() {
    let mut app = TestApp::at_its_own_address(Backend::Memory, "").await;
    app.issuer.rotate(vec![Signer::rs256("runner")]);
    let github = GitHub::start(Signer::rs256("runner"), app.claims()).await;

    for url in [app.public.clone(), format!("{}/", app.public)] {
        let (output, env) = run(&github, &url).await;
        assert!(output.status.success(), "{url}: {output:?}");
        let token = env.trim().strip_prefix("HALLPASS_TOKEN=").unwrap_or_else(|| panic!("{url}: {env}"));
        assert_eq!(decode(token)["sub"], "agent:payments-refactorer");
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(out.trim(), format!("::add-mask::{token}"));
    }
    assert!(github.asked().iter().all(|audience| *audience == app.public), "{:?}", github.asked());

    for (status, body) in [
        (StatusCode::NOT_FOUND, ""),
        (StatusCode::OK, ""),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, r#"{"access_token":null}"#),
        (StatusCode::BAD_GATEWAY, "<html>"),
    ] {
        let (output, env) = run(&github, &stranger(status, body).await).await;
        assert!(!output.status.success() && env.is_empty(), "{status} {body}: {output:?} {env}");
    }
    for answer in ["{}", "", "<html>"] {
        github.fail_once(answer);
        let (output, env) = run(&github, &app.public).await;
        assert!(!output.status.success() && env.is_empty(), "{answer}: {output:?} {env}");
    }
    app.finish().await;
}
