//! The steps of the demo. Each does what it says over HTTP or on the log's file, checks that it came
//! out as told, and says how long it took.

use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::form_urlencoded;

use super::world::{World, spoken};
use crate::cli::audit::{events_table, verify_file};
use crate::cli::client::Answer;
use crate::cli::show::safe;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::checkpoint::{self, VerifierKey};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What a line has room for, beside the 5 columns before it, on the narrowest of usual terminals.
const LINE: usize = 75;

/// Numbers the steps and times them.
struct Stage<'a, 'b> {
    host: &'a mut Host<'b>,
    step: u32,
    begun: Instant,
}

impl Stage<'_, '_> {
    fn step(&mut self, what: &str) -> anyhow::Result<()> {
        self.step += 1;
        self.begun = Instant::now();
        writeln!(self.host.out, "\n{}. {what}", self.step)?;
        Ok(())
    }

    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            writeln!(self.host.out, "     {}", safe(line))?;
        }
        Ok(())
    }

    fn done(&mut self, what: &str) -> anyhow::Result<()> {
        let took = milliseconds(self.begun.elapsed());
        writeln!(self.host.out, "   ✓ {} ({took})", safe(what))?;
        Ok(())
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Tells the story; the broker is stopped in good order at its end.
pub(super) async fn tell(world: World, host: &mut Host<'_>) -> Outcome {
    let begun = world.begun;
    let mut stage = Stage { host, step: 0, begun };
    // Interrupted, it still leaves nothing behind.
    let told = tokio::select! {
        told = scenes(&world, &mut stage) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    let World { app, folder, .. } = world;
    let stopped = app.stop().await;
    drop(folder);
    // A bare I/O error of the scenes is standard output's: its reader may have seen enough.
    told.map_err(|error| error.downcast::<std::io::Error>().map_or_else(Failure::from, Failure::from))?;
    stopped?;
    let total = milliseconds(begun.elapsed());
    writeln!(
        stage.host.out,
        "\nThat was the main job, on a real broker, in {total}. Next: README.md, «Quick start»."
    )?;
    Ok(())
}

async fn scenes(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<()> {
    stage.step("A broker starts, embedded, and beside it a CI system's OIDC issuer")?;
    stage.begun = world.begun;
    stage.line(&format!("broker {}   issuer {}", world.public_url, world.issuer.url))?;
    stage.done("ready")?;
    let token = first_token(world, stage).await?;
    beyond_registration(world, stage).await?;
    introspection(world, stage, &token, true).await?;
    let stop = kill(world, stage, &token).await?;
    lift(world, stage, &stop, &token).await?;
    trail(world, stage).await?;
    tampering(world, stage).await
}

/// Asks for a token as a CI job would, with its platform's proof.
async fn ask(world: &World, scope: &str) -> anyhow::Result<Answer> {
    let now = world.now();
    let proof = world.issuer.token(&json!({
        "iss": world.issuer.url, "aud": world.public_url, "sub": "repo:acme/payments:ref:refs/heads/main",
        "repository_id": "456789", "ref": "refs/heads/main",
        "iat": now, "nbf": now, "exp": now + 300,
    }))?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", EXCHANGE)
        .append_pair("subject_token_type", JWT)
        .append_pair("subject_token", &proof)
        .append_pair("scope", scope)
        .finish();
    world.agent.post_form("/oauth/token", form).await.map_err(spoken)
}

async fn first_token(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<String> {
    stage.step("The agent payments-refactorer shows its CI job's identity and gets a token")?;
    let answer: Value = ask(world, "payments:read payments:push ledger:GET")
        .await?
        .success()
        .map_err(spoken)?
        .json()
        .map_err(spoken)?;
    stage.done("released; its event is on disk")?;
    let Some(token) = answer["access_token"].as_str() else { bail!("the answer has no access_token") };
    let payload = token.split('.').nth(1).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    for name in ["sub", "owner", "scope", "aud", "workload"] {
        stage.line(&format!("{name:9} {}", plain(&claims[name])))?;
    }
    stage.line(&format!("{:9} {} seconds", "lives", answer["expires_in"]))?;
    for permission in claims["authorization_details"].as_array().into_iter().flatten() {
        let limits = if permission["refs"].is_null() { &permission["paths"] } else { &permission["refs"] };
        let what = [&permission["actions"], limits, &permission["locations"]].map(plain);
        stage.line(&format!("{:9} {} on {} in {}", "opens", what[0], what[1], what[2]))?;
    }
    Ok(token.to_owned())
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

async fn beyond_registration(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<()> {
    stage.step("It asks for more than its file registers")?;
    for scope in ["payments:read secrets:read", "payments:merge"] {
        let refused = ask(world, scope).await?;
        ensure!(refused.status == 400, "{scope} was answered with {}", refused.status);
        let problem: Value = refused.json().map_err(spoken)?;
        stage.line(&format!("{scope}: {} ({})", plain(&problem["error"]), plain(&problem["reason"])))?;
        stage.line(&format!("  {}", plain(&problem["error_description"])))?;
    }
    stage.done("refused whole, never trimmed in silence")
}

async fn introspection(
    world: &World,
    stage: &mut Stage<'_, '_>,
    token: &str,
    alive: bool,
) -> anyhow::Result<()> {
    if alive {
        stage.step("Whoever guards the repository asks: is this token good, now?")?;
    }
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    let answer = world.verifier.post_form("/oauth/introspect", form).await.map_err(spoken)?;
    let answer: Value = answer.success().map_err(spoken)?.json().map_err(spoken)?;
    ensure!(answer["active"] == alive, "introspection says {answer}");
    let shown = if alive {
        format!("active: true, {} of {}", plain(&answer["sub"]), plain(&answer["owner"]))
    } else {
        answer.to_string()
    };
    stage.done(&format!("introspection: {shown}"))
}

async fn kill(world: &World, stage: &mut Stage<'_, '_>, token: &str) -> anyhow::Result<String> {
    stage
        .step("On call: hallpass revoke agent:payments-refactorer --reason \"pushes to the wrong branch\"")?;
    let body = json!({"target": "agent:payments-refactorer", "reason": "pushes to the wrong branch"});
    let answer = world.operator.post_json("/v1/revocations", &body).await.map_err(spoken)?;
    let change: Value = answer.success().map_err(spoken)?.json().map_err(spoken)?;
    stage.done(&format!("in effect, confirmed by {}", plain(&change["confirmed"])))?;
    stage.begun = Instant::now();
    introspection(world, stage, token, false).await?;
    refused_as_stopped(world, stage).await?;
    Ok(plain(&change["revocation"]["id"]))
}

async fn refused_as_stopped(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<()> {
    stage.begun = Instant::now();
    let refused = ask(world, "payments:read").await?;
    let problem: Value = refused.json().map_err(spoken)?;
    ensure!(problem["reason"] == "revoked", "the stopped agent was answered {problem}");
    stage.done(&format!(
        "the next token: {}, {}",
        plain(&problem["error"]),
        plain(&problem["error_description"])
    ))
}

async fn lift(world: &World, stage: &mut Stage<'_, '_>, stop: &str, old: &str) -> anyhow::Result<()> {
    stage.step(&format!("All clear: hallpass lift {stop}"))?;
    let body = json!({"reason": "the branch rule is fixed"});
    let path = format!("/v1/revocations/{stop}/lift");
    world.operator.post_json(&path, &body).await.and_then(Answer::success).map_err(spoken)?;
    stage.done("lifted")?;
    stage.begun = Instant::now();
    ask(world, "payments:read").await?.success().map_err(spoken)?;
    stage.done("a new token is issued at once")?;
    stage.begun = Instant::now();
    introspection(world, stage, old, false).await?;
    stage.line("lifting never resurrects: the first token stays dead")
}

async fn trail(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<()> {
    stage.step("The auditor reads what happened, newest first")?;
    let events = world.operator.list("/v1/audit/events", &[], "events", 100).await.map_err(spoken)?;
    let (table, _) = events_table(&events).map_err(spoken)?.fitted(LINE);
    stage.line(&table)?;
    stage.done(&format!("{} events", events.len()))
}

async fn tampering(world: &World, stage: &mut Stage<'_, '_>) -> anyhow::Result<()> {
    stage.step("hallpass audit verify, on the log and on a copy with one byte changed")?;
    let checkpoint =
        world.operator.get("/v1/audit/checkpoint", &[]).await.and_then(Answer::success).map_err(spoken)?;
    let key = world.operator.get("/v1/audit/key", &[]).await.and_then(Answer::success).map_err(spoken)?;
    let key: VerifierKey = key.text().map_err(spoken)?.trim().parse()?;
    let checkpoint = checkpoint::verify(checkpoint.text().map_err(spoken)?, &key)?;
    let verified = verify_file(&world.database(), Some(&checkpoint))?;
    stage.done(&format!("{} events, root {}", verified.size, verified.root))?;
    stage.begun = Instant::now();
    let copy = world.copy_with_one_byte_changed()?;
    match verify_file(&copy, Some(&checkpoint)) {
        Ok(_) => bail!("the changed copy passed"),
        Err(error) => stage.done(&format!("the copy fails: {error}")),
    }
}
