//! The admin listener: who may do what, and what auditors find.

use serde_json::{Value, json};

use crate::support::broker::{Backend, TestApp, decode};

#[tokio::test]
async fn a_credential_is_known_or_it_is_401() {
    let app = TestApp::start(Backend::Memory).await;
    let url = format!("{}/v1/agents", app.admin);
    let bare = app.send(app.http().get(&url)).await;
    assert_eq!((bare.status, bare.reason().as_str()), (401, "credential_missing"));
    assert!(bare.header("www-authenticate").starts_with("Bearer"));
    for wrong in ["hpo_wrong", "", "x y"] {
        let answer = app.send(app.http().get(&url).bearer_auth(wrong)).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, "credential_invalid"), "{wrong}");
    }
    let twice = app.http().get(&url).bearer_auth(&app.operator).header("authorization", "Bearer x");
    assert_eq!(app.send(twice).await.status, 401);
    // A resource server is no operator.
    assert_eq!(app.send(app.http().get(&url).bearer_auth("ledger-key")).await.status, 401);
    for path in ["/v1/audit/export", "/v1/audit/proof?seq=1&size=1"] {
        assert_eq!(app.send(app.http().get(format!("{}{path}", app.admin))).await.status, 401, "{path}");
    }
    assert_eq!(app.send(app.http().post(format!("{}/v1/explain", app.admin)).body("{}")).await.status, 401);
    app.finish().await;
}

#[tokio::test]
async fn roles_are_held_to() {
    let key = |key: &str| hallpass::domain::digest::Digest::of(key.as_bytes()).to_string();
    let operators = format!(
        "[[admin.operator]]\nname = \"oncall\"\nroles = [\"admin\"]\nkey_sha256 = \"{}\"\n\
         [[admin.operator]]\nname = \"books\"\nroles = [\"auditor\"]\nkey_sha256 = \"{}\"\n\
         [[admin.operator]]\nname = \"lead\"\nroles = [\"approver\"]\nkey_sha256 = \"{}\"\n",
        key("oncall-key"),
        key("books-key"),
        key("lead-key")
    );
    let app = TestApp::with(Backend::Memory, &operators).await;
    // (path, oncall, books, lead)
    for (path, statuses) in [
        ("/v1/agents", [200, 200, 200]),
        ("/v1/revocations", [200, 200, 200]),
        ("/v1/audit/checkpoint", [200, 200, 200]),
        ("/v1/audit/key", [200, 200, 200]),
        ("/v1/audit/proof?seq=1&size=1", [200, 200, 200]),
        ("/v1/audit/events", [200, 200, 403]),
        ("/v1/audit/export", [200, 200, 403]),
        ("/v1/audit/export?format=csv", [200, 200, 403]),
    ] {
        for (key, status) in ["oncall-key", "books-key", "lead-key"].into_iter().zip(statuses) {
            let answer = app.send(app.http().get(format!("{}{path}", app.admin)).bearer_auth(key)).await;
            assert_eq!(answer.status, status, "{path} by {key}");
        }
    }
    for key in ["oncall-key", "books-key", "lead-key"] {
        let body = json!({"agent": "payments-refactorer"}).to_string();
        let request = app.http().post(format!("{}/v1/explain", app.admin));
        assert_eq!(app.send(request.bearer_auth(key).body(body)).await.status, 200, "{key}");
    }
    for (key, status) in [("oncall-key", 201), ("books-key", 403), ("lead-key", 403)] {
        let body = json!({"target": "everything", "reason": "a test"}).to_string();
        let request = app.http().post(format!("{}/v1/revocations", app.admin)).bearer_auth(key).body(body);
        assert_eq!(app.send(request).await.status, status, "{key}");
    }
    let stopped = app.events("kind=revocation.stopped").await;
    assert_eq!(stopped[0]["operator"], "oncall");
    app.finish().await;
}

/// Who is refused at the admin listener stands in the log, with all but the key.
#[tokio::test]
async fn refused_operators_are_events() {
    let books = hallpass::domain::digest::Digest::of(b"books-key");
    let more = format!(
        "[[admin.operator]]\nname = \"books\"\nroles = [\"auditor\"]\nkey_sha256 = \"{books}\"\n\n[limits]\nrefusals_per_minute = 6"
    );
    let app = TestApp::with(Backend::Memory, &more).await;
    let stops = format!("{}/v1/revocations", app.admin);
    let stop = |key: &str, target: &str| {
        let body = json!({"target": target, "reason": "a test"}).to_string();
        app.http().post(&stops).bearer_auth(key).body(body)
    };
    assert_eq!(app.send(stop("hpo_guessed", "everything")).await.status, 401);
    assert_eq!(app.send(stop("books-key", "everything")).await.status, 403);
    assert_eq!(app.send(stop(&app.operator, "agent:nobody")).await.status, 404);
    let lift = app.http().post(format!("{stops}/01890a5d-ac96-774b-bcce-b302099a8057/lift"));
    let lift = lift.bearer_auth(&app.operator).body(json!({"reason": "x"}).to_string());
    assert_eq!(app.send(lift).await.status, 404);
    let ask = app.http().post(format!("{}/oauth/introspect", app.public)).bearer_auth("hpo_guessed");
    let ask = ask.header("content-type", "application/x-www-form-urlencoded").body("token=x");
    assert_eq!(app.send(ask).await.status, 401);
    // Nobody in particular: no key was shown.
    assert_eq!(app.send(app.http().get(&stops)).await.status, 401);
    let events = app.events("kind=operator.refused").await;
    let told: Vec<_> = events
        .iter()
        .rev()
        .map(|event| json!([event["reason"], event["operator"], event["target"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["credential_invalid", null, null]),
            json!(["role_missing", "books", null]),
            json!(["target_unknown", "local", "agent:nobody"]),
            json!(["target_unknown", "local", null]),
            json!(["credential_invalid", null, null]),
        ]
    );
    assert_eq!(events[3]["detail"], "POST /v1/revocations: this needs the role admin");
    assert_eq!(events[0]["detail"], "POST /oauth/introspect");
    for event in &events {
        assert_eq!((&event["outcome"], event["peer"].as_str()), (&json!("refused"), Some("127.0.0.1")));
        assert!(event["request"].is_string() && !event.to_string().contains("hpo_"), "{event}");
    }
    // Beyond the rate of their source they are counted.
    for _ in 0..50 {
        assert_eq!(app.send(stop("hpo_guessed", "everything")).await.status, 401);
    }
    let events = app.events("kind=operator.refused").await;
    assert!((6..=8).contains(&events.len()), "{}", events.len());
    app.finish().await;
}

#[tokio::test]
async fn the_registry_is_told_with_what_each_agent_does() {
    let app = TestApp::start(Backend::Memory).await;
    app.issue().await;
    let agents = app.admin_get("/v1/agents").await.json();
    let agent = &agents["agents"][0];
    assert_eq!(agent["id"], "payments-refactorer");
    assert_eq!(agent["live_tokens"], 1);
    assert_eq!(agent["status"], "active");
    assert!(agent["last_issued"].is_string());
    assert!(agent["sentence"].as_str().unwrap().ends_with("team-payments answers for it."));
    app.revoke("owner:team-payments").await;
    let shown = app.admin_get("/v1/agents/payments-refactorer").await.json();
    assert_eq!((&shown["status"], &shown["stopped_by"]), (&json!("stopped"), &json!("owner:team-payments")));
    assert_eq!(shown["live_tokens"], 0, "a dead token is not live");
    assert_eq!(shown["permissions"][1]["gated"], json!(["POST"]));
    assert_eq!(app.admin_get("/v1/agents/nope").await.status, 404);
    app.finish().await;
}

#[tokio::test]
async fn auditors_find_events_by_every_filter() {
    let app = TestApp::start(Backend::Memory).await;
    let token = app.issue().await;
    let jti = decode(&token)["jti"].as_str().unwrap().to_owned();
    app.exchange(&app.proof(), &[("scope", "nope:x")]).await;
    let refused = app.exchange("a.b.c", &[]).await;
    let request = refused.json()["request_id"].as_str().unwrap().to_owned();
    let count = async |query: &str| app.events(query).await.len();
    assert_eq!(count(&format!("token={jti}")).await, 1);
    assert_eq!(count("agent=payments-refactorer").await, 2);
    assert_eq!(count("owner=team-payments&outcome=refused").await, 1);
    assert_eq!(count("kind=token.refused").await, 2);
    assert_eq!(count(&format!("request={request}")).await, 1);
    assert_eq!(count("resource=ledger").await, 1);
    assert_eq!(count("resource=https%3A%2F%2Fgithub.com%2Facme%2Fpayments").await, 1);
    assert_eq!(count("resource=https%3A%2F%2Fgithub.com").await, 0);
    assert_eq!(count("since=2100-01-01T00:00:00Z").await, 0);
    assert_eq!(count("until=2000-01-01T00:00:00Z").await, 0);
    for wrong in
        ["limit=0", "limit=501", "agent=UPPER", "kind=x", "since=yesterday", "cursor=x", "surprise=1"]
    {
        assert_eq!(app.admin_get(&format!("/v1/audit/events?{wrong}")).await.status, 400, "{wrong}");
    }
    app.finish().await;
}

#[tokio::test]
async fn pages_follow_one_another_without_a_gap() {
    let app = TestApp::start(Backend::Memory).await;
    for _ in 0..25 {
        app.issue().await;
    }
    let all: Vec<Value> = app.events("").await;
    let mut paged = Vec::new();
    let mut path = "/v1/audit/events?limit=7".to_owned();
    loop {
        let answer = app.admin_get(&path).await;
        paged.extend(answer.json()["events"].as_array().unwrap().clone());
        match answer.header("link").split_once('>') {
            Some((next, _)) => path = next.trim_start_matches('<').to_owned(),
            None => break,
        }
    }
    assert_eq!(all, paged);
    let seqs: Vec<u64> = paged.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] == pair[1] + 1), "{seqs:?}");
    app.finish().await;
}

#[tokio::test]
async fn introspection_answers_those_it_is_meant_for() {
    let app = TestApp::start(Backend::Memory).await;
    let for_ledger = app.exchange(&app.proof(), &[("scope", "ledger:GET")]).await.token();
    let for_git = app.exchange(&app.proof(), &[("scope", "payments:read")]).await.token();
    let ask = async |token: &str, key: Option<&str>| {
        app.post_form("/oauth/introspect", &[("token", token)], key).await
    };
    assert_eq!(ask(&for_ledger, Some("ledger-key")).await.json()["active"], true);
    assert_eq!(ask(&for_git, Some("ledger-key")).await.json(), json!({"active": false}));
    assert_eq!(ask(&for_git, Some("wrong")).await.status, 401);
    assert_eq!(ask(&for_git, None).await.status, 401);
    let basic = async |key: &str| {
        let request = app.http().post(format!("{}/oauth/introspect", app.public));
        let request = request.basic_auth("ledger", Some(key));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        app.send(request.body(format!("token={for_ledger}"))).await
    };
    // As it is, and form-encoded (RFC 6749 §2.3.1).
    for key in ["ledger-key", "ledger%2Dkey", "%6cedger-key"] {
        assert_eq!(basic(key).await.json()["active"], true, "{key}");
    }
    for key in ["ledger%252Dkey", "ledger+key", "ledger%2Dkey&", "%", "", "%2D"] {
        assert_eq!(basic(key).await.status, 401, "{key}");
    }
    assert_eq!(ask(&for_ledger, Some("ledger%2Dkey")).await.status, 401, "only Basic is encoded");
    for nonsense in ["x", "a.b.c", &for_git[..for_git.len() - 2]] {
        assert_eq!(ask(nonsense, Some("ledger-key")).await.json(), json!({"active": false}));
    }
    let expired = app.exchange(&app.proof(), &[("requested_ttl", "60")]).await.token();
    assert!(app.active(&expired).await);
    app.hands.push(60);
    assert_eq!(app.introspect(&expired).await, json!({"active": false}));
    app.finish().await;
}

#[tokio::test]
async fn the_document_is_what_is_served() {
    let app = TestApp::start(Backend::Memory).await;
    let document = app.send(app.http().get(format!("{}/openapi.json", app.admin))).await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let url = format!("{}{}", app.admin, path.replace("{id}", "nope"));
            let answer = app.send(app.http().request(method.clone(), url).bearer_auth(&app.operator)).await;
            assert_ne!(answer.status, 405, "{method} {path}");
            let missing = answer.status == 404 && answer.text.contains("no such path");
            assert!(!missing, "{method} {path} is not served");
        }
    }
    insta::assert_json_snapshot!(document);
    app.finish().await;
}

#[tokio::test]
async fn metrics_count_without_naming_callers() {
    let app = TestApp::start(Backend::Memory).await;
    app.issue().await;
    app.exchange("a.b.c", &[]).await;
    let text = app.send(app.http().get(format!("{}/metrics", app.admin))).await.text;
    for line in [
        "hallpass_tokens_issued_total 1",
        "hallpass_tokens_refused_total{reason=\"proof_malformed\"} 1",
        "hallpass_journal_seconds_count 1",
        "hallpass_store_healthy 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_changed_registry_is_in_force_or_refused_whole() {
    let app = TestApp::start(Backend::Memory).await;
    let file = app.file("agents/payments-refactorer.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let until = async |query: &str, count: usize| {
        for _ in 0..100 {
            if app.events(query).await.len() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{query} did not come to {count} events");
    };
    std::fs::write(&file, good.replace("owner", "# owner")).unwrap();
    until("kind=registry.rejected", 1).await;
    app.issue().await;
    let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")));
    std::fs::write(&file, good.replace("\"read\", \"push\"", "\"read\"")).unwrap();
    until("kind=registry.loaded", 2).await;
    assert_eq!(decode(&app.issue().await)["scope"], "payments:read ledger:GET");
    let ready = app.send(app.http().get(format!("{}/readyz", app.public))).await;
    assert_eq!(ready.json()["status"], "ok");
    app.finish().await;
}
