//! The dry run says what the broker then does, names the rule that decides, and leaves no trace.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::broker::{BOTH, Backend, TestApp, decode};
use crate::support::process::eventually;

async fn explain(app: &TestApp, question: Value) -> Value {
    let answer = app.admin_post("/v1/explain", &question).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The agent's CI job, as somebody who looks into a refusal has it: the claims of the job's token.
fn identity(app: &TestApp) -> Value {
    json!({"issuer": "ci", "claims": app.claims()})
}

fn actions(answer: &Value) -> Vec<(&str, &str, &str)> {
    let actions = answer["actions"].as_array().unwrap().iter();
    actions
        .map(|action| {
            let [word, tier, because] =
                ["word", "tier", "because"].map(|name| action[name].as_str().unwrap());
            (word, tier, because)
        })
        .collect()
}

/// Whatever is asked, the dry run and the token endpoint say the same.
#[tokio::test]
async fn the_dry_run_is_what_then_happens() {
    let app = TestApp::start(Backend::Memory).await;
    let element =
        json!([{"type": "git_repository", "identifier": "payments", "refs": ["refs/heads/agent/7"]}]);
    let beyond = json!([{"type": "git_repository", "identifier": "payments", "refs": ["refs/heads/main"]}]);
    let (element_text, beyond_text) = (element.to_string(), beyond.to_string());
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (json!({}), vec![]),
        (json!({"scope": "payments:read ledger:GET"}), vec![("scope", "payments:read ledger:GET")]),
        (json!({"scope": "payments:merge"}), vec![("scope", "payments:merge")]),
        (json!({"scope": "payments:read nope:x"}), vec![("scope", "payments:read nope:x")]),
        (json!({"resource": "https://github.com"}), vec![("resource", "https://github.com")]),
        (json!({"resource": ["https://elsewhere.test"]}), vec![("resource", "https://elsewhere.test")]),
        (json!({"requested_ttl": 60}), vec![("requested_ttl", "60")]),
        (json!({"requested_ttl": 99_999_999_999_u64}), vec![("requested_ttl", "99999999999")]),
        (json!({"authorization_details": element}), vec![("authorization_details", &element_text)]),
        (json!({"authorization_details": beyond}), vec![("authorization_details", &beyond_text)]),
    ];
    for (question, form) in cases {
        let asked = app.exchange(&app.proof(), &form).await;
        let done = asked.json();
        for who in [("agent", json!("payments-refactorer")), ("identity", identity(&app))] {
            let mut question = question.clone();
            question[who.0] = who.1;
            let said = explain(&app, question).await;
            assert_eq!(said["agent"], "payments-refactorer");
            if asked.status == 200 {
                assert_eq!(said["outcome"], "granted", "{form:?}");
                assert_eq!(said["grant"]["scope"], done["scope"]);
                assert_eq!(said["grant"]["authorization_details"], done["authorization_details"]);
                assert_eq!(said["grant"]["ttl"], done["expires_in"]);
            } else {
                assert_eq!(said["outcome"], "refused", "{form:?}");
                assert_eq!(said["refusal"]["error"], done["error"]);
                assert_eq!(said["refusal"]["reason"], done["reason"]);
                assert_eq!(said["refusal"]["description"], done["error_description"]);
            }
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn each_action_has_the_rule_that_decides() {
    let app = TestApp::start(Backend::Memory).await;
    let all = explain(&app, json!({"agent": "payments-refactorer"})).await;
    let free = |word| (word, "free", "file.free");
    assert_eq!(
        actions(&all),
        [
            free("payments:read"),
            free("payments:push"),
            ("payments:merge", "gated", "file.gated"),
            free("ledger:GET"),
            ("ledger:POST", "gated", "file.gated"),
        ]
    );
    let question = json!({
        "agent": "payments-refactorer", "resource": "https://github.com",
        "scope": "payments:merge payments:deploy ledger:GET typo",
        "authorization_details": [{"type": "git_repository", "identifier": "payments",
            "actions": ["push"], "refs": ["refs/heads/main"]}],
    });
    assert_eq!(
        actions(&explain(&app, question).await),
        [
            ("payments:merge", "gated", "file.gated"),
            ("payments:deploy", "forbidden", "file.unlisted"),
            ("ledger:GET", "forbidden", "request.resource"),
            ("typo", "forbidden", "file.unlisted"),
            ("payments:push", "forbidden", "file.limits"),
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_stop_in_effect_is_told_on_both_backends() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let token = decode(&app.issue().await)["jti"].as_str().unwrap().to_owned();
        app.revoke(&format!("token:{token}")).await;
        app.revoke("agent:payments-refactorer").await;
        let wider = app.revoke("owner:team-payments").await;
        for question in [json!({"agent": "payments-refactorer"}), json!({"identity": identity(&app)})] {
            let said = explain(&app, question).await;
            assert_eq!(
                (&said["outcome"], &said["stopped_by"]),
                (&json!("refused"), &json!("owner:team-payments"))
            );
            assert_eq!(said["refusal"]["reason"], "revoked");
            assert_eq!(said["stops"].as_array().unwrap().len(), 2, "both that cover it: {said}");
            assert_eq!(said["stops"][0]["id"], json!(wider));
            assert_eq!(actions(&said)[0], ("payments:read", "free", "file.free"), "but for the stop");
        }
        app.lift(&wider).await;
        let said = explain(&app, json!({"agent": "payments-refactorer"})).await;
        assert_eq!(said["stopped_by"], "agent:payments-refactorer");
        app.finish().await;
    }
}

/// A second agent, by another repository, and one that is known by a key as well.
fn more_agents(app: &TestApp) {
    let write = |id: &str, identity: &str| {
        let text = format!(
            "purpose = \"A neighbour.\"\nowner = \"team-x\"\n{identity}\n[[repository]]\nname = \"x\"\n\
             url = \"https://github.com/acme/x\"\nfree = [\"read\"]\n"
        );
        fs::write(app.file(&format!("agents/{id}.toml")), text).unwrap();
    };
    let by = |claims: &str| format!("[[identity]]\nissuer = \"ci\"\nclaims = {{ {claims} }}");
    write("a-far", &by("repository_id = \"1\", ref = \"refs/heads/x\", environment = \"prod\""));
    write("b-near", &by("repository_id = \"2\", ref = \"refs/heads/main\""));
}

#[tokio::test]
async fn an_identity_that_is_nobodys_learns_what_it_missed() {
    let mut app = TestApp::start(Backend::Memory).await;
    app.shutdown().await;
    more_agents(&app);
    app.boot().await;
    let mut claims = app.claims();
    claims["repository_id"] = json!(456_789);
    let said = explain(&app, json!({"identity": {"issuer": "ci", "claims": claims}})).await;
    assert_eq!((&said["outcome"], &said["refusal"]["reason"]), (&json!("refused"), &json!("no_agent")));
    assert!(said.get("agent").is_none() && said["actions"] == json!([]));
    let near = |agent: &str, expected: &str| {
        json!({"agent": agent, "matched": 1,
            "mismatches": [{"claim": "repository_id", "expected": expected, "given": 456_789}]})
    };
    assert_eq!(
        said["nearest"],
        json!([
            near("b-near", "2"),
            near("payments-refactorer", "456789"),
            {"agent": "a-far", "matched": 0, "mismatches": [
                {"claim": "environment", "expected": "prod", "given": null},
                {"claim": "ref", "expected": "refs/heads/x", "given": "refs/heads/main"},
                {"claim": "repository_id", "expected": "1", "given": 456_789},
            ]},
        ])
    );
    // The caller itself still learns nothing (law 8).
    let refused = app.exchange(&app.issuer.token(claims), &[]).await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "no_agent"));
    assert!(!refused.text.contains("repository_id") && !refused.text.contains("near"));

    let unknown = explain(&app, json!({"identity": {"issuer": "nowhere", "claims": {}}})).await;
    assert_eq!(unknown["refusal"]["reason"], "issuer_unknown");
    let key = explain(&app, json!({"identity": {"issuer": "key", "claims": {"sub": "x"}}})).await;
    assert_eq!(
        (&key["refusal"]["reason"], key.get("nearest")),
        (&json!("no_agent"), None),
        "no agent has a key"
    );
    app.finish().await;
}

#[tokio::test]
async fn at_most_five_near_misses_are_told() {
    let mut app = TestApp::start(Backend::Memory).await;
    app.shutdown().await;
    for n in 0..9 {
        let text = format!(
            "purpose = \"One of many.\"\nowner = \"team-x\"\n[[identity]]\nissuer = \"ci\"\n\
             claims = {{ repository_id = \"{n}\" }}\n[[repository]]\nname = \"x\"\n\
             url = \"https://github.com/acme/x\"\nfree = [\"read\"]\n"
        );
        fs::write(app.file(&format!("agents/many-{n}.toml")), text).unwrap();
    }
    app.boot().await;
    let said = explain(&app, json!({"identity": {"issuer": "ci", "claims": {}}})).await;
    assert_eq!(said["nearest"].as_array().unwrap().len(), 5);
    app.finish().await;
}

#[tokio::test]
async fn it_leaves_no_trace() {
    let app = TestApp::start(Backend::Memory).await;
    let before = app.events("").await.len();
    let metrics = async || app.send(app.http().get(format!("{}/metrics", app.admin))).await.text;
    let counted = async || {
        let text = metrics().await;
        text.lines().filter(|line| line.starts_with("hallpass_tokens")).map(str::to_owned).collect::<Vec<_>>()
    };
    let counts = counted().await;
    // The broker asks by itself once, beside the calls: for the metadata and the keys.
    eventually("the first keys", || async { app.issuer.requests() >= 2 }).await;
    let asked = app.issuer.requests();
    for _ in 0..100 {
        explain(&app, json!({"identity": identity(&app), "scope": "payments:merge"})).await;
        explain(&app, json!({"agent": "payments-refactorer"})).await;
    }
    assert_eq!(app.events("").await.len(), before);
    assert_eq!(counted().await, counts);
    assert_eq!(app.issuer.requests(), asked, "an issuer was asked");
    let agents = app.admin_get("/v1/agents").await.json();
    assert_eq!(agents["agents"][0]["live_tokens"], 0);
    app.finish().await;
}

#[tokio::test]
async fn a_question_is_whole_or_it_is_a_problem() {
    let app = TestApp::start(Backend::Memory).await;
    let agent = |more: Value| {
        let mut question = json!({"agent": "payments-refactorer"});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question
    };
    for question in [
        json!({}),
        json!([]),
        agent(json!({"identity": identity(&app)})),
        agent(json!({"surprise": 1})),
        agent(json!({"requested_ttl": 0})),
        agent(json!({"requested_ttl": "60"})),
        agent(json!({"requested_ttl": -1})),
        agent(json!({"scope": ["payments:read"]})),
        agent(json!({"resource": 7})),
        agent(json!({"authorization_details": []})),
        agent(json!({"authorization_details": [{"type": "git_repository"}]})),
        agent(json!({"authorization_details": [{"type": "a", "identifier": "b", "more": 1}]})),
        json!({"identity": {"issuer": "ci"}}),
        json!({"identity": {"issuer": "NOT A NAME", "claims": {}}}),
        json!({"identity": {"issuer": "ci", "claims": {}, "subject": "x"}}),
    ] {
        let answer = app.admin_post("/v1/explain", &question).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "application/problem+json"),
            "{question}"
        );
    }
    for unknown in ["nope", "NOT AN ID"] {
        assert_eq!(app.admin_post("/v1/explain", &json!({"agent": unknown})).await.status, 404);
    }
    app.finish().await;
}

/// Whoever may ask may be slow about it, and holds up nobody else.
#[tokio::test]
async fn bodies_that_never_come_hold_up_no_read() {
    let app = TestApp::start(Backend::Memory).await;
    let head = "POST /v1/explain HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n";
    let head = format!("{head}authorization: Bearer {}\r\n\r\n{{", app.operator);
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(app.admin.trim_start_matches("http://")).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for path in ["/v1/revocations", "/v1/agents", "/v1/audit/events"] {
        let answer = tokio::time::timeout(Duration::from_secs(1), app.admin_get(path)).await;
        assert_eq!(answer.expect("an answer at once").status, 200, "{path}");
    }
    drop(held);
    app.finish().await;
}
