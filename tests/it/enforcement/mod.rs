//! Enforcement points outside: resource servers that judge tokens by themselves, by the stops that they follow.

mod stream;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{BOTH, Backend, Hands, TestApp};
use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::follower::{ALL, Follower, Language};
use crate::support::process::Process;

const AGENT: &str = "agent:payments-refactorer";

async fn revoke(app: &TestApp, target: &str) -> Value {
    let body = json!({"target": target, "reason": "a test"});
    let answer = app.admin_post("/v1/revocations", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

/// `hallpass revoke`, as an operator of this broker runs it.
async fn command(app: &TestApp, arguments: &[&str]) -> Ran {
    let mut command = bare(HALLPASS);
    command.args(arguments);
    command.env("HALLPASS_ADMIN_URL", &app.admin);
    command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
    ran(command).await
}

#[tokio::test]
async fn a_stop_is_in_effect_at_every_follower_before_it_returns_and_a_lift_resurrects_nothing() {
    for backend in BOTH {
        let app = TestApp::start(backend).await;
        let mut followers = Vec::new();
        for (n, language) in ALL.into_iter().enumerate() {
            followers.push(Follower::ready(language, &app.public, &app.admin, &format!("pod-{n}")).await);
        }
        let everybody: Vec<String> = std::iter::once("broker-a".to_owned())
            .chain((0..ALL.len()).map(|n| format!("ledger/pod-{n}")))
            .collect();
        for target in [AGENT, "owner:team-payments", "issuer:ci", "everything"] {
            let token = app.issue().await;
            for follower in &mut followers {
                assert_eq!(follower.verdict(&token), json!({"pass": true, "agent": "payments-refactorer"}));
            }
            let answer = revoke(&app, target).await;
            for follower in &mut followers {
                assert!(!follower.passes(&token), "{target}: {}", follower.log());
            }
            assert_eq!(
                (&answer["confirmed"], &answer["pending"]),
                (&json!(everybody), &json!([])),
                "{answer}"
            );
            app.lift(answer["revocation"]["id"].as_str().unwrap()).await;
            let fresh = app.issue().await;
            for follower in &mut followers {
                assert!(!follower.passes(&token), "a lift resurrected a token of {target}");
                assert!(follower.passes(&fresh), "{target}: {}", follower.log());
            }
        }
        // One token alone, by its id and by its holder.
        let [stopped, ended, other] = [app.issue().await, app.issue().await, app.issue().await];
        let jti = crate::support::broker::decode(&stopped)["jti"].as_str().unwrap().to_owned();
        let answer = revoke(&app, &format!("token:{jti}")).await;
        assert_eq!(answer["confirmed"], json!(everybody), "{answer}");
        app.post_form("/oauth/revoke", &[("token", &ended)], None).await;
        for follower in &mut followers {
            assert!(!follower.passes(&stopped));
            let began = Instant::now();
            while follower.passes(&ended) {
                assert!(began.elapsed() < Duration::from_secs(2), "{}", follower.log());
            }
            assert!(follower.passes(&other));
            let spoilt = other.replace(".ey", ".fy");
            assert!(!follower.passes("nonsense") && !follower.passes(&spoilt));
            assert!(!follower.passes(&other[..other.len() - 1]));
        }
        let done = command(&app, &["revoke", AGENT, "--reason", "a test"]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let count = everybody.len();
        assert!(done.out.contains(&format!("{count} of {count} confirmed in ")), "{done:?}");
        followers.into_iter().for_each(Follower::end);
        // They have said that they let nothing pass any more, so nobody waits for them.
        assert_eq!(revoke(&app, "everything").await["pending"], json!([]));
        app.finish().await;
    }
}

/// It is named as long as it may let tokens pass by what it was told, and it lets none pass when it wakes.
#[tokio::test]
async fn a_follower_that_is_held_is_pending_by_name_and_refuses_when_it_goes_on() {
    for language in ALL {
        let app = TestApp::start(Backend::Memory).await;
        let mut held = Follower::ready(language, &app.public, &app.admin, "held").await;
        let mut other = Follower::ready(language, &app.public, &app.admin, "other").await;
        let token = app.issue().await;
        assert!(held.passes(&token) && other.passes(&token));
        held.signal("STOP");
        let failed = command(&app, &["revoke", AGENT, "--reason", "a test"]).await;
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(failed.err.contains("ledger/held did not confirm"), "{failed:?}");
        assert!(
            failed.out.contains("2 of 3 confirmed in ") && failed.out.contains("ledger/held"),
            "{failed:?}"
        );
        assert!(!other.passes(&token));
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.signal("CONT");
        assert!(!held.passes(&token), "{}", held.log());
        // It was silent for longer than it may judge by what it knows, so it is not counted.
        held.signal("STOP");
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let answer = revoke(&app, "everything").await;
        assert_eq!(answer["confirmed"], json!(["broker-a", "ledger/other"]), "{answer}");
        assert_eq!(answer["pending"], json!([]));
        held.signal("CONT");
        held.until_fresh().await;
        app.finish().await;
    }
}

/// What was stopped while it could not hear of it, it knows before it lets anything pass again.
#[tokio::test]
async fn a_broker_that_is_killed_and_started_again_is_followed_on_without_a_gap() {
    for language in ALL {
        let mut broker = Process::prepare(crate::support::process::Plan::default());
        let [public, admin] = [(); 2]
            .map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        broker.listen(public, admin);
        broker.boot();
        let mut follower = Follower::ready(language, &broker.public, &broker.admin, "pod-1").await;
        let token = broker.exchange().await.token();
        assert!(follower.passes(&token), "{}", follower.log());
        // Something is in the book already, so that a place is more than nothing.
        broker.revoke("issuer:ci").await;
        let stop = broker.revoke(AGENT).await.json();
        assert_eq!(stop["confirmed"], json!(["broker-a", "ledger/pod-1"]), "{stop}");
        broker.kill();
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        let verdict = follower.verdict(&token);
        assert_eq!(verdict["pass"], false, "{verdict}");
        assert!(!follower.status()["fresh"].as_bool().unwrap());
        broker.boot();
        let answer = broker.revoke("owner:team-payments").await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        follower.until_fresh().await;
        assert!(
            follower.verdict(&token)["because"].as_str().unwrap().contains("stopped"),
            "{}",
            follower.log()
        );
        let log = broker.log();
        let follows: Vec<&str> = log.lines().filter(|line| line.contains("follows the stops")).collect();
        assert!(follows[0].contains("\"resumed\":false"), "{follows:?}");
        assert!(follows.last().unwrap().contains("\"resumed\":true"), "{follows:?}");
        broker.end();
    }
}

#[tokio::test]
async fn a_stop_at_one_broker_counts_those_that_follow_another() {
    let a = TestApp::first_of_several(Hands::default()).await;
    let b = a.beside("broker-b", Hands::default(), a.redis.as_ref().unwrap().port).await;
    let mut follower = Follower::ready(Language::Python, &b.public, &b.admin, "pod-1").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let token = a.issue().await;
    assert!(follower.passes(&token), "{}", follower.log());
    let answer = revoke(&a, AGENT).await;
    assert!(!follower.passes(&token));
    assert_eq!(answer["confirmed"], json!(["broker-a", "broker-b", "ledger/pod-1"]), "{answer}");
    assert_eq!(answer["pending"], json!([]));
    a.lift(answer["revocation"]["id"].as_str().unwrap()).await;
    assert!(follower.passes(&a.issue().await), "{}", follower.log());
    follower.signal("STOP");
    let answer = revoke(&a, AGENT).await;
    assert_eq!(answer["pending"], json!(["ledger/pod-1"]), "{answer}");
    follower.signal("CONT");
    b.leave().await;
    a.finish().await;
}

/// The store answers in its place, at the broker and so at those that follow it.
#[tokio::test]
async fn without_redis_a_follower_goes_on_by_the_brokers_store() {
    let mut app = TestApp::start(Backend::Redis).await;
    let mut follower = Follower::ready(Language::Python, &app.public, &app.admin, "pod-1").await;
    app.redis.as_mut().unwrap().kill();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    follower.until_fresh().await;
    let token = app.issue().await;
    assert!(follower.passes(&token), "{}", follower.log());
    let answer = revoke(&app, AGENT).await;
    assert!(!follower.passes(&token));
    assert_eq!(answer["confirmed"], json!(["broker-a", "ledger/pod-1"]), "{answer}");
    app.finish().await;
}
