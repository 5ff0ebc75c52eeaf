//! How `hallpass token` finds this workload's identity by itself, and how patient it is: the real program,
//! a real broker, and a runner's token endpoint.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::broker::{Backend, TestApp, decode};
use crate::support::command::{HALLPASS, Ran, bare, hallpass, proven, ran};
use crate::support::github::{GitHub, REQUEST_TOKEN};
use crate::support::proxy::Proxy;
use crate::support::signer::Signer;

/// A broker that trusts the runner's issuer.
async fn world() -> (GitHub, TestApp) {
    let mut app = TestApp::at_its_own_address(Backend::Memory, "").await;
    app.issuer.rotate(vec![Signer::rs256("runner")]);
    let claims = app.claims();
    (GitHub::start(Signer::rs256("runner"), claims).await, app)
}

fn on_github(app: &TestApp, github: &GitHub, args: &[&str]) -> tokio::process::Command {
    let mut command = hallpass(app, args);
    command.env("GITHUB_ACTIONS", "true");
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", &github.url);
    command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
    command
}

fn issued(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    decode(ran.out.trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_github_needs_nothing_but_the_brokers_address() {
    let (github, app) = world().await;
    let done = ran(on_github(&app, &github, &["token", "-v"])).await;
    assert_eq!(issued(&done)["sub"], "agent:payments-refactorer");
    assert_eq!(done.err, "proof: an identity token of GitHub Actions, from 127.0.0.1\n");
    assert_eq!(github.asked(), [app.public.as_str()], "the audience is the broker's own name");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audience_can_be_said() {
    let (github, app) = world().await;
    let done = ran(on_github(&app, &github, &["token", "--audience", "https://other.example"])).await;
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.err.contains("reason: audience_mismatch"), "{done:?}");
    assert_eq!(github.asked(), ["https://other.example"]);
    app.finish().await;
}

/// A broker that names another one would collect proofs for it.
#[tokio::test(flavor = "multi_thread")]
async fn no_identity_token_is_made_for_a_broker_of_another_name() {
    let app = TestApp::start(Backend::Memory).await;
    let github = GitHub::start(Signer::rs256("runner"), app.claims()).await;
    let done = ran(on_github(&app, &github, &["token"])).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("calls itself https://hallpass.test"), "{done:?}");
    assert!(github.asked().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_names_comes_before_the_platform() {
    let (github, app) = world().await;
    let file = app.file("identity.token");
    std::fs::write(&file, app.issuer.token(with_audience(&app))).unwrap();
    let named = file.to_str().unwrap();
    for (variable, used) in [
        (
            "HALLPASS_IDENTITY_TOKEN_FILE",
            format!("proof: the identity token in {named} (HALLPASS_IDENTITY_TOKEN_FILE)\n"),
        ),
        ("HALLPASS_IDENTITY_TOKEN", "proof: the identity token in HALLPASS_IDENTITY_TOKEN\n".to_owned()),
    ] {
        let mut command = on_github(&app, &github, &["token", "-v"]);
        let text = app.issuer.token(with_audience(&app));
        command.env(variable, if variable.ends_with("FILE") { named } else { &text });
        let done = ran(command).await;
        issued(&done);
        assert_eq!(done.err, used);
    }
    let done = ran(on_github(&app, &github, &["token", "-v", "--identity-token-file", named])).await;
    issued(&done);
    assert!(done.err.contains("(--identity-token-file)"), "{done:?}");
    assert!(github.asked().is_empty());
    app.finish().await;
}

fn with_audience(app: &TestApp) -> Value {
    let mut claims = app.claims();
    claims["aud"] = json!(app.public);
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_key_is_the_last_and_the_agents_name_asks_for_it() {
    let (github, app) = world().await;
    let key = app.file("agent.key");
    let key = key.to_str().unwrap();
    let mut keygen = bare(HALLPASS);
    keygen.args(["keygen", "--out", key]);
    assert_eq!(ran(keygen).await.code, Some(0));
    let mut command = on_github(&app, &github, &["token", "-v", "--agent", "payments-refactorer"]);
    command.env("HALLPASS_KEY_FILE", key);
    let done = ran(command).await;
    // The key is not registered: the broker says so, and no other proof takes its place.
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.err.contains(&format!(
        "proof: the key in {key} (HALLPASS_KEY_FILE), registered for payments-refactorer"
    )));
    assert!(github.asked().is_empty());
    let mut command = on_github(&app, &github, &["token"]);
    command.env("HALLPASS_KEY_FILE", key).env("HALLPASS_AGENT", "payments-refactorer");
    issued(&ran(command).await);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proof_each_platform_is_told_what_its_job_has_to_say() {
    let app = TestApp::start(Backend::Memory).await;
    for (variable, remedy) in [
        ("GITHUB_ACTIONS", "permissions: id-token: write"),
        ("GITLAB_CI", "id_tokens:"),
        ("KUBERNETES_SERVICE_HOST", "projected service-account token"),
        ("NOTHING", "hallpass token --help"),
    ] {
        let mut command = hallpass(&app, &["token"]);
        command.env(variable, "true").env("ACTIONS_ID_TOKEN_REQUEST_URL", "https://runner.example");
        let done = ran(command).await;
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        assert!(done.err.contains(remedy), "{variable}: {done:?}");
        for looked in [
            "HALLPASS_IDENTITY_TOKEN:",
            "_REQUEST_TOKEN not set",
            "/var/run/secrets/hallpass/token not there",
        ] {
            assert!(done.err.contains(looked), "{looked}: {done:?}");
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_runners_get_nothing_and_learn_nothing() {
    let (github, app) = world().await;
    let port = github.url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    for url in [
        "http://runner.example/x",
        "ftp://127.0.0.1/x",
        "nonsense",
        &format!("http://a:b@127.0.0.1:{port}/x"),
    ] {
        let mut command = on_github(&app, &github, &["token"]);
        command.env("ACTIONS_ID_TOKEN_REQUEST_URL", url);
        let done = ran(command).await;
        assert_eq!(done.code, Some(1), "{url}: {done:?}");
        assert!(done.err.contains("is not an https address"), "{url}: {done:?}");
        assert!(!format!("{done:?}").contains(REQUEST_TOKEN));
    }
    for answer in ["", "{}", "{\"value\":7}", "{\"value\":\"a b c\"}", "{\"value\":\"a.b\"}", "<html>"] {
        github.fail_once(answer);
        let done = ran(on_github(&app, &github, &["token"])).await;
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{answer}: {done:?}");
        assert!(done.err.contains("GitHub Actions"), "{answer}: {done:?}");
    }
    github.fail_once((StatusCode::FOUND, [("location", "http://127.0.0.1:9/")]));
    let done = ran(on_github(&app, &github, &["token"])).await;
    assert!(done.code == Some(1) && done.err.contains("it answered 302"), "{done:?}");
    github.fail_once(StatusCode::FORBIDDEN);
    let done = ran(on_github(&app, &github, &["token"])).await;
    assert!(done.code == Some(1) && done.err.contains("id-token: write"), "{done:?}");
    app.finish().await;
}

// ---- patience ----

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    let (github, app) = world().await;
    github.fail_once((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]));
    github.fail_once(StatusCode::SERVICE_UNAVAILABLE);
    let started = Instant::now();
    let done = ran(on_github(&app, &github, &["token"])).await;
    issued(&done);
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After is kept to");
    assert_eq!(github.asked().len(), 3);
    assert_eq!(done.err.matches("trying again").count(), 1, "{done:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_limits_the_rate_is_waited_for() {
    let app = TestApp::with(Backend::Memory, "[limits]\ntokens_per_minute = 30\n").await;
    let proof = app.proof();
    let mut limited = app.exchange(&proof, &[]).await;
    for _ in 0..30 {
        if limited.status == 429 {
            break;
        }
        limited = app.exchange(&proof, &[]).await;
    }
    assert_eq!((limited.status, limited.header("retry-after")), (429, "2"), "{limited:?}");
    let done = ran(proven(&app, &["token"])).await;
    issued(&done);
    assert!(done.err.contains("trying again"), "{done:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_beyond_the_timeout_ends_it_at_once() {
    let (github, app) = world().await;
    github.fail_once((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]));
    let started = Instant::now();
    let done = ran(on_github(&app, &github, &["token"])).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("given up after: 60 s"), "{done:?}");
    assert!(started.elapsed() < Duration::from_secs(20) && github.asked().len() == 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_in_time_is_enough() {
    let app = TestApp::start(Backend::Memory).await;
    let port = app.public.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(port).await;
    proxy.cut();
    let mut command = proven(&app, &["token"]);
    command.env("HALLPASS_URL", format!("http://127.0.0.1:{}", proxy.port));
    let waiting = tokio::spawn(ran(command));
    tokio::time::sleep(Duration::from_millis(700)).await;
    proxy.pass();
    let done = waiting.await.unwrap();
    issued(&done);
    assert!(done.err.contains("trying again for up to 60 s"), "{done:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_given_up_in_time_and_a_refusal_at_once() {
    let app = TestApp::start(Backend::Memory).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let started = Instant::now();
    let done = ran(proven(&app, &["token", "--timeout", "1s", "--url", &url])).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("Connection refused") && done.err.contains("--timeout"), "{done:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    // A no is a no: one request, one event.
    let done = ran(proven(&app, &["token", "--scope", "payments:fly"])).await;
    assert_eq!(done.code, Some(3), "{done:?}");
    assert_eq!(app.events("kind=token.refused").await.len(), 1);
    app.finish().await;
}
