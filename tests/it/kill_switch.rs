//! Stop, lift, and what they do to tokens: over HTTP, on both revocation stores.

use serde_json::json;

use crate::support::broker::{BOTH, Backend, TestApp, decode};

#[tokio::test]
async fn every_kind_of_target_stops_issuance_and_kills_tokens() {
    for backend in BOTH {
        for target in ["agent:payments-refactorer", "owner:team-payments", "issuer:ci", "everything"] {
            let app = TestApp::start(backend).await;
            let token = app.issue().await;
            assert!(app.active(&token).await);
            let stop = app.revoke(target).await;
            assert_eq!(app.introspect(&token).await, json!({"active": false}), "{target}");
            let refused = app.exchange(&app.proof(), &[]).await;
            assert_eq!((refused.status, refused.reason().as_str()), (400, "revoked"), "{target}");
            assert_eq!(refused.json()["error"], "access_denied");
            app.lift(&stop).await;
            let fresh = app.issue().await;
            assert!(app.active(&fresh).await, "{target}");
            assert!(!app.active(&token).await, "a lift resurrected a token of {target}");
            app.finish().await;
        }
    }
}

#[tokio::test]
async fn one_token_is_stopped_alone() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let (one, other) = (app.issue().await, app.issue().await);
        app.revoke(&format!("token:{}", decode(&one)["jti"].as_str().unwrap())).await;
        assert!(!app.active(&one).await);
        assert!(app.active(&other).await);
        app.finish().await;
    }
}

#[tokio::test]
async fn the_answer_says_who_confirmed() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let body = json!({"target": "everything", "reason": "a test"});
        let answer = app.admin_post("/v1/revocations", &body).await.json();
        assert_eq!(answer["confirmed"], json!(["broker-a"]), "{answer}");
        assert_eq!(answer["pending"], json!([]));
        assert_eq!(answer["audit"], "recorded");
        let again = app.admin_post("/v1/revocations", &body).await.json();
        assert_eq!(again["revocation"]["id"], answer["revocation"]["id"], "one stop a target");
        let listed = app.admin_get("/v1/revocations?active=true").await.json();
        assert_eq!(listed["revocations"].as_array().unwrap().len(), 1);
        let stop = answer["revocation"]["id"].as_str().unwrap();
        app.lift(stop).await;
        let path = format!("/v1/revocations/{stop}/lift");
        assert_eq!(app.admin_post(&path, &json!({"reason": "again"})).await.status, 409);
        let listed = app.admin_get("/v1/revocations?active=true").await.json();
        assert_eq!(listed["revocations"], json!([]));
        app.finish().await;
    }
}

/// The earlier stop stays as it is, with its reason and its id; the call is an event all the same.
#[tokio::test]
async fn a_second_stop_says_since_when_and_by_whom_the_target_was_stopped() {
    let app = TestApp::start(Backend::Memory).await;
    let stop = async |reason: &str| {
        let stop = json!({"target": "agent:payments-refactorer", "reason": reason});
        app.admin_post("/v1/revocations", &stop).await.json()
    };
    let (first, second) = (stop("first").await, stop("second").await);
    assert_eq!((&first["already_stopped"], &second["already_stopped"]), (&json!(false), &json!(true)));
    assert_eq!(first["revocation"], second["revocation"]);
    assert_eq!((&second["revocation"]["reason"], &second["audit"]), (&json!("first"), &json!("recorded")));
    let events = app.events("kind=revocation.stopped").await;
    assert_eq!(events.iter().map(|event| &event["reason"]).collect::<Vec<_>>(), ["second", "first"]);
    assert_eq!(events[0]["stop"], first["revocation"]["id"]);
    app.lift(first["revocation"]["id"].as_str().unwrap()).await;
    app.issue().await;
    app.finish().await;
}

#[tokio::test]
async fn a_slip_of_the_hand_stops_nothing_and_says_so() {
    let app = TestApp::start(Backend::Memory).await;
    for (target, status) in [
        ("agent:payments-refactorerr", 404),
        ("owner:team-paymentz", 404),
        ("issuer:nope", 404),
        ("agents:payments-refactorer", 400),
        ("", 400),
    ] {
        let answer = app.admin_post("/v1/revocations", &json!({"target": target, "reason": "x"})).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let reasonless = json!({"target": "everything", "reason": "  "});
    assert_eq!(app.admin_post("/v1/revocations", &reasonless).await.status, 400);
    app.issue().await;
    app.finish().await;
}

/// Its history may be lost, and who stops it has no time to find out.
#[tokio::test]
async fn a_token_that_the_log_does_not_know_is_stopped_all_the_same() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        let known = app.issue().await;
        let unknown = "token:019abcde-0000-7000-8000-000000000000";
        let preview = json!({"target": unknown});
        let preview = app.admin_post("/v1/revocations?dry_run=true", &preview).await.json();
        assert_eq!((&preview["unknown_token"], &preview["live_tokens"]), (&json!(true), &json!(0)));
        for again in [false, true] {
            let stopped = app.admin_post("/v1/revocations", &json!({"target": unknown, "reason": "x"})).await;
            assert_eq!(stopped.status, 201, "{}", stopped.text);
            let stopped = stopped.json();
            assert_eq!(
                (&stopped["unknown_token"], &stopped["already_stopped"]),
                (&json!(true), &json!(again))
            );
            assert_eq!(stopped["pending"], json!([]));
        }
        let event = &app.events("kind=revocation.stopped").await[0];
        assert_eq!((&event["target"], &event["agent"]), (&json!(unknown), &json!(null)));
        assert_eq!(event["detail"], "this log knows no such token; it is stopped all the same");
        assert!(app.active(&known).await);
        let target = format!("token:{}", decode(&known)["jti"].as_str().unwrap());
        let stopped =
            app.admin_post("/v1/revocations", &json!({"target": target, "reason": "x"})).await.json();
        assert_eq!(stopped["unknown_token"], json!(null));
        assert!(app.events("kind=revocation.stopped").await[0]["detail"].is_null());
        assert!(!app.active(&known).await);

        app.shutdown().await;
        app.boot().await;
        let listed = app.admin_get("/v1/revocations?active=true").await.json();
        let listed = listed["revocations"].as_array().unwrap();
        let stop = listed.iter().find(|stop| stop["target"] == unknown).expect("it outlives the broker");
        app.lift(stop["id"].as_str().unwrap()).await;
        app.finish().await;
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_it_would_hit() {
    let app = TestApp::start(Backend::Memory).await;
    app.issue().await;
    app.issue().await;
    let answer =
        app.admin_post("/v1/revocations?dry_run=true", &json!({"target": "owner:team-payments"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let hit = answer.json();
    assert_eq!(hit["live_tokens"], 2);
    assert_eq!(hit["agents"], json!(["payments-refactorer"]));
    assert_eq!(hit["repositories"], json!(["https://github.com/acme/payments"]));
    app.issue().await;
    app.finish().await;
}

#[tokio::test]
async fn the_holder_of_a_token_ends_it() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let (token, other) = (app.issue().await, app.issue().await);
        for given in [token.as_str(), token.as_str(), "nonsense", "a.b.c"] {
            let answer = app.post_form("/oauth/revoke", &[("token", given)], None).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        assert!(!app.active(&token).await);
        assert!(app.active(&other).await);
        assert_eq!(app.events("kind=revocation.stopped").await.len(), 1);
        // Clients that have a key or a secret send it along; a bad one keeps no token alive.
        let form = [
            ("token", other.as_str()),
            ("client_id", "payments-refactorer"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "stale"),
        ];
        assert_eq!(app.post_form("/oauth/revoke", &form, None).await.status, 200);
        assert!(!app.active(&other).await);
        app.finish().await;
    }
}

/// The clock of a broker that is two hours ahead holds every token for expired. What is ended or stopped meanwhile is so
/// when the clock is right again.
#[tokio::test]
async fn a_clock_that_is_ahead_loses_no_stop_and_no_end() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let (ended, stopped) = (app.issue().await, app.issue().await);
        let file = app.file("agents/payments-refactorer.toml");
        let other = std::fs::read_to_string(&file).unwrap().replace("payments-refactorer", "another");
        std::fs::write(app.file("agents/another.toml"), other.replace("team-payments", "team-other"))
            .unwrap();
        std::fs::remove_file(file).unwrap();
        while app.admin_get("/v1/agents/payments-refactorer").await.status != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        app.hands.push(7200);
        assert_eq!(app.post_form("/oauth/revoke", &[("token", &ended)], None).await.status, 200);
        for target in ["agent:payments-refactorer", "owner:team-payments"] {
            app.revoke(target).await;
        }
        app.hands.push(-7200);
        assert!(!app.active(&ended).await);
        assert!(!app.active(&stopped).await);
        app.finish().await;
    }
}

/// Its tokens live on when it is taken out of the configuration, whatever the clock says of them.
#[tokio::test]
async fn an_issuer_that_is_not_configured_any_more_can_be_stopped() {
    for backend in BOTH {
        let mut app = TestApp::start(backend).await;
        let token = app.issue().await;
        app.shutdown().await;
        for (file, was, is) in [
            ("hallpass.toml", "name = \"ci\"", "name = \"ci-2\""),
            ("agents/payments-refactorer.toml", "\"ci\"", "\"ci-2\""),
        ] {
            let text = std::fs::read_to_string(app.file(file)).unwrap();
            assert!(text.contains(was), "{text}");
            std::fs::write(app.file(file), text.replace(was, is)).unwrap();
        }
        app.boot().await;
        let fresh = app.issue().await;
        app.hands.push(7200);
        app.revoke("issuer:ci").await;
        app.hands.push(-7200);
        assert!(!app.active(&token).await);
        assert!(app.active(&fresh).await, "that of the other name");
        let unknown = json!({"target": "issuer:ci-3", "reason": "x"});
        assert_eq!(app.admin_post("/v1/revocations", &unknown).await.status, 404);
        app.finish().await;
    }
}
