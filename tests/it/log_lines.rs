//! What an operator finds in the log for the request id that a caller reports.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::broker::{AUDIENCE, Answer};
use crate::support::issuer::{Issuer, Mood};
use crate::support::process::{Plan, Process, eventually, read};
use crate::support::redis::RedisServer;
use crate::support::signer::Signer;

/// Errors and warnings alone, but for the line that says where the broker listens: the request's span must be in
/// force at the level of its errors.
const SPARSE: &str = "warn,hallpass::cli=info";

/// Every line of the log that was written for the request that got `answer`.
fn lines_of(broker: &Process, answer: &Answer) -> Vec<Value> {
    let request = answer.json()["request_id"].as_str().expect("a request_id").to_owned();
    let log = broker.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["span"]["request_id"] == *request).collect()
}

/// The one line of them that has `message`. The log's thread may write it after the answer is here.
async fn line(broker: &Process, answer: &Answer, message: &str) -> Value {
    let found = || {
        let lines = lines_of(broker, answer).into_iter();
        lines.filter(|line| line["fields"]["message"] == message).collect::<Vec<_>>()
    };
    eventually(message, || async { !found().is_empty() }).await;
    let found = found();
    assert_eq!(found.len(), 1, "{message}: {}", broker.log());
    found[0].clone()
}

#[tokio::test]
async fn a_fault_of_the_store_is_logged_once_with_its_cause_and_the_callers_request_id() {
    // Without the trap the kernel ends whoever writes beyond the limit.
    let before = "trap '' XFSZ".to_owned();
    let broker = Process::with(Plan { log: SPARSE, before, ..Plan::default() });
    broker.exchange().await.token();
    // As large as the largest file is now, so that nothing more can be appended to it.
    let limit = ["--pid", &broker.pid().to_string(), "--fsize=65536:unlimited"];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    let answer = loop {
        let answer = broker.exchange().await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(answer.reason(), "journal_unavailable", "{answer:?}");
    let fault = line(&broker, &answer, "no durable event, so no token").await;
    let error = fault["fields"]["error"].as_str().unwrap();
    let cause = error.strip_prefix("the journal is unavailable: ").expect(error);
    assert!(cause.contains("disk"), "{fault}");
    assert_eq!(fault["span"]["kind"], "POST /oauth/token");
    assert_eq!(fault["span"]["agent"], "payments-refactorer");
    assert!(!answer.text.contains("disk"), "the cause is the operator's to know: {}", answer.text);
}

/// The broker tries twice a second, and each token asks too.
#[tokio::test]
async fn a_redis_that_is_away_is_told_when_it_goes_and_when_it_is_back() {
    let mut redis = RedisServer::start();
    let revocation = format!("redis://127.0.0.1:{}", redis.port);
    let broker = Process::with(Plan { revocation, ..Plan::default() });
    eventually("Redis", || async { broker.get("/readyz").await.json()["status"] == "ok" }).await;
    let told = |part: &str| broker.log().lines().filter(|line| line.contains(part)).count();
    let before = ["be followed", "followed again"].map(told);
    redis.kill();
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        broker.exchange().await.token();
    }
    redis.restart();
    eventually("Redis", || async { told("followed again") == before[1] + 1 }).await;
    assert_eq!(told("be followed"), before[0] + 1, "{}", broker.log());
    // A token that is asked for in the instant in which Redis goes may say so.
    assert!(told("asked from the store alone") <= 1, "{}", broker.log());
}

#[tokio::test]
async fn a_fault_of_an_issuer_is_logged_once_with_its_cause_and_the_callers_request_id() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Broken);
    let url = issuer.url();
    let more = format!("[[issuer]]\nname = \"forge\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\n");
    let broker = Process::with(Plan { log: SPARSE, more, ..Plan::default() });
    let mut claims = broker.claims();
    claims["iss"] = json!(url);
    // The first one waits for the fetch, the second one knows that it failed.
    for _ in 0..2 {
        let answer = read(broker.request(&issuer.token(claims.clone()))).await;
        assert_eq!((answer.status, answer.reason().as_str()), (503, "issuer_unavailable"), "{answer:?}");
        let fault = line(&broker, &answer, "proof not verified").await;
        let cause = fault["fields"]["cause"].as_str().unwrap();
        assert!(cause.starts_with("forge: ") && cause.contains("status 500"), "{fault}");
        assert!(!answer.text.contains("500"), "{}", answer.text);
    }
}

#[tokio::test]
async fn each_call_has_one_line_in_the_span_of_its_request() {
    let broker = Process::start();
    let refused = read(broker.request("no proof")).await;
    let call = line(&broker, &refused, "call").await;
    assert_eq!(
        (&call["fields"]["status"], &call["span"]["kind"]),
        (&json!(400), &json!("POST /oauth/token"))
    );
    assert!(call["span"].get("agent").is_none(), "nobody is known: {call}");

    let answer = broker.exchange().await;
    answer.token();
    let request = answer.header("x-request-id");
    eventually("its line", || async { broker.log().contains(request) }).await;
    let log = broker.log();
    let issued: Vec<&str> = log.lines().filter(|line| line.contains(request)).collect();
    let [issued] = issued[..] else { panic!("{issued:?}") };
    let issued: Value = serde_json::from_str(issued).unwrap();
    assert_eq!(issued["span"]["agent"], "payments-refactorer", "{issued}");

    // A path that the caller made up is not repeated.
    let unknown = broker.admin_get("/v1/canary-of-a-caller").await;
    line(&broker, &unknown, "call").await;
    assert!(!broker.log().contains("canary-of-a-caller"));
}

#[tokio::test]
async fn what_was_wrong_with_a_proof_is_in_log_and_event_and_not_in_the_answer() {
    let broker = Process::start();
    let signer = Signer::es256("k");
    for (header, detail) in [
        (
            json!({"alg": "ES256", "crit": ["exp"]}),
            "the header has crit, which demands an extension; none is understood",
        ),
        (json!({"alg": "ES256", "typ": "at+jwt"}), "typ must be JWT, application/jwt, JOSE or absent"),
        (
            json!({"alg": "ES256", "kid": "k", "jku": "https://evil.test/canary"}),
            "the issuer has no key for this kid and alg",
        ),
    ] {
        let proof = signer.compact("ES256", header.to_string(), broker.claims().to_string());
        let answer = read(broker.request(&proof)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let logged = line(&broker, &answer, "proof refused").await;
        assert_eq!((&logged["fields"]["detail"], &logged["level"]), (&json!(detail), &json!("INFO")));
        let request = answer.json()["request_id"].as_str().unwrap().to_owned();
        let events = broker.admin_get(&format!("/v1/audit/events?request={request}")).await.json();
        assert_eq!(events["events"][0]["detail"], detail, "{events}");
        assert!(!answer.text.contains(detail), "a stranger reads the code alone: {}", answer.text);
    }
    assert!(!broker.log().contains("evil.test"));
}

#[tokio::test]
async fn a_published_key_that_is_left_out_is_logged_once_with_kid_and_cause() {
    let issuer = Issuer::start().await;
    issuer.publish_beside(&[
        json!({"kty": "RSA", "kid": "weak", "use": "sig", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"}),
    ]);
    let url = issuer.url();
    let more = format!("[[issuer]]\nname = \"forge\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\n");
    let broker = Process::with(Plan { more, ..Plan::default() });
    let mut claims = broker.claims();
    claims["iss"] = json!(url);
    for _ in 0..2 {
        read(broker.request(&issuer.token(claims.clone()))).await;
    }
    let told = || -> Vec<Value> {
        let log = broker.log();
        let lines = log.lines().filter(|line| line.contains("a published key is left out"));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("both lines", || async { told().len() >= 2 }).await;
    let told = told();
    let [weak, enc] = &told[..] else { panic!("{told:?}") };
    let says = |line: &Value, field: &str, part: &str| {
        line["fields"][field].as_str().is_some_and(|value| value.contains(part))
    };
    assert!(
        says(weak, "kid", "weak") && says(weak, "cause", "2048") && says(weak, "issuer", "forge"),
        "{weak}"
    );
    assert!(says(enc, "kid", "enc") && says(enc, "cause", "use"), "{enc}");
    assert_eq!((&weak["level"], &enc["level"]), (&json!("WARN"), &json!("INFO")));
}

#[tokio::test]
async fn debug_tells_how_a_token_was_decided_and_no_secret() {
    let broker = Process::with(Plan { log: "debug", ..Plan::default() });
    let proof = broker.proof();
    let answer = read(broker.request(&proof)).await;
    let token = answer.token();
    let stop = broker.revoke("agent:payments-refactorer").await;
    assert_eq!(stop.status, 201, "{}", stop.text);
    let refused = broker.exchange().await;
    assert_eq!(refused.reason(), "revoked");
    for (message, field, value) in [
        ("the proof is good", "workload", "ci|repo:acme/payments:ref:refs/heads/main"),
        ("the proof is this agent's", "agent", "payments-refactorer"),
        ("refused", "reason", "revoked"),
    ] {
        let told = line(&broker, &refused, message).await;
        assert_eq!(told["fields"][field], value, "{told}");
        assert_eq!(told["level"], "DEBUG", "{told}");
    }
    let told = line(&broker, &refused, "the kill switch answered").await;
    assert!(told["fields"]["stopped"].to_string().contains("agent:payments-refactorer"), "{told}");
    for part in ["all that was asked for is granted", "payments:read payments:push", "the token is released"]
    {
        assert!(broker.log().contains(part), "{part}: {}", broker.log());
    }
    for secret in [proof.rsplit('.').next().unwrap(), token.rsplit('.').next().unwrap(), &broker.operator] {
        assert!(!broker.log().contains(secret));
    }
}
