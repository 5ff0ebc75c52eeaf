//! Several brokers of one installation: what one stops, all refuse, and whoever cannot say so is named.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::broker::{Hands, TestApp};
use crate::support::command::{HALLPASS, bare, ran};
use crate::support::fleet::Kind;
use crate::support::proxy::Proxy;

const AGENT: &str = "agent:payments-refactorer";

/// Runs each of these tests on brokers that share one opening of SQLite, and on brokers of one PostgreSQL.
macro_rules! on_each_store {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            use super::Kind;

            #[tokio::test]
            async fn sqlite() {
                super::$test(Kind::OneSqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$test(Kind::Postgres).await;
            }
        })*
    };
}

on_each_store!(
    a_stop_at_one_is_confirmed_and_obeyed_by_the_other_at_once_and_so_is_its_lift,
    a_token_that_its_holder_ends_at_one_is_dead_at_the_other,
    brokers_hours_apart_agree,
    without_redis_the_other_is_pending_and_the_command_fails,
    one_that_hangs_is_pending_and_catches_up,
    a_redis_that_refuses_writes_is_down_for_both,
    stops_of_an_outage_hold_everywhere_and_get_their_numbers,
);

async fn two(kind: Kind, hands: [Hands; 2]) -> (TestApp, TestApp) {
    let [one, other] = hands;
    let a = TestApp::first_on(kind, one).await;
    let port = a.redis.as_ref().unwrap().port;
    let b = a.beside("broker-b", other, port).await;
    both_are_heard(&a).await;
    (a, b)
}

async fn both_are_heard(a: &TestApp) {
    let began = Instant::now();
    let seen = || a.redis.as_ref().unwrap().command::<Vec<String>>(&["HKEYS", "hallpass:{revocation}:seen"]);
    while seen().len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn revoke(app: &TestApp, target: &str) -> Value {
    let body = json!({"target": target, "reason": "a test"});
    let answer = app.admin_post("/v1/revocations", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

async fn is_refused(app: &TestApp) {
    let answer = app.exchange(&app.proof(), &[]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "revoked"), "{}", answer.text);
}

async fn a_stop_at_one_is_confirmed_and_obeyed_by_the_other_at_once_and_so_is_its_lift(kind: Kind) {
    let (a, b) = two(kind, Default::default()).await;
    for round in 0..6 {
        let (one, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let tokens = [one.issue().await, other.issue().await];
        for token in &tokens {
            assert!(one.active(token).await && other.active(token).await, "the signing keys are one store's");
        }
        let answer = revoke(one, AGENT).await;
        is_refused(other).await;
        is_refused(one).await;
        for token in &tokens {
            assert!(!other.active(token).await && !one.active(token).await, "round {round}");
        }
        assert_eq!(answer["confirmed"], json!(["broker-a", "broker-b"]), "{answer}");
        assert_eq!(answer["pending"], json!([]));

        other.lift(answer["revocation"]["id"].as_str().unwrap()).await;
        // No second is waited, and the token lives everywhere before any view has heard of the lift.
        let fresh = one.issue().await;
        assert!(other.active(&fresh).await && one.active(&fresh).await, "round {round}");
        let fresh = other.issue().await;
        assert!(one.active(&fresh).await && other.active(&fresh).await, "round {round}");
        for token in &tokens {
            assert!(!other.active(token).await && !one.active(token).await, "a lift resurrected it");
        }
    }
    b.leave().await;
    a.finish().await;
}

async fn a_token_that_its_holder_ends_at_one_is_dead_at_the_other(kind: Kind) {
    let (a, b) = two(kind, Default::default()).await;
    let (token, other) = (a.issue().await, a.issue().await);
    assert!(b.active(&token).await);
    assert_eq!(b.post_form("/oauth/revoke", &[("token", &token)], None).await.status, 200);
    assert!(!a.active(&token).await && !b.active(&token).await);
    assert!(a.active(&other).await && b.active(&other).await);
    b.leave().await;
    a.finish().await;
}

/// By instants a stop at the broker behind was «confirmed» by the one ahead, which went on issuing.
async fn brokers_hours_apart_agree(kind: Kind) {
    let hands = [Hands::default(), Hands::default()];
    let (a, b) = two(kind, hands.clone()).await;
    for (round, hours) in [[2, -3], [-7, 4], [9, -1]].into_iter().enumerate() {
        let (one, other) = if round % 2 == 0 { (&b, &a) } else { (&a, &b) };
        hands[0].push(hours[0] * 3_600);
        hands[1].push(hours[1] * 3_600);
        let tokens = [a.issue().await, b.issue().await];
        let answer = revoke(one, AGENT).await;
        assert_eq!(answer["confirmed"], json!(["broker-a", "broker-b"]), "{answer}");
        for app in [&a, &b] {
            is_refused(app).await;
        }
        assert!(!a.active(&tokens[0]).await && !b.active(&tokens[1]).await);
        // A clock that is set otherwise changes nothing, in either direction.
        for seconds in [7_200, -14_400, 7_200] {
            hands.iter().for_each(|hands| hands.push(seconds));
            is_refused(&a).await;
            is_refused(&b).await;
        }
        other.lift(answer["revocation"]["id"].as_str().unwrap()).await;
        for (app, token) in [(&a, &tokens[0]), (&b, &tokens[1])] {
            let fresh = app.issue().await;
            assert!(app.active(&fresh).await);
            for seconds in [60, -120, 60] {
                hands.iter().for_each(|hands| hands.push(seconds));
                assert!(!app.active(token).await, "dead stays dead");
            }
        }
    }
    b.leave().await;
    a.finish().await;
}

/// `hallpass revoke`, as an operator of this broker runs it.
async fn command(app: &TestApp, target: &str) -> crate::support::command::Ran {
    let mut command = bare(HALLPASS);
    command.args(["revoke", target, "--reason", "a test"]);
    command.env("HALLPASS_ADMIN_URL", &app.admin);
    command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
    ran(command).await
}

async fn without_redis_the_other_is_pending_and_the_command_fails(kind: Kind) {
    let (mut a, b) = two(kind, Default::default()).await;
    let token = b.issue().await;
    let done = command(&a, "owner:team-payments").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    a.redis.as_mut().unwrap().kill();
    let answer = revoke(&a, AGENT).await;
    assert_eq!(
        (&answer["confirmed"], &answer["pending"]),
        (&json!(["broker-a"]), &json!(["broker-b"])),
        "{answer}"
    );
    assert_eq!(answer["audit"], "recorded");
    // The store has it, which both ask.
    is_refused(&b).await;
    assert!(!b.active(&token).await);
    let failed = command(&a, "everything").await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("broker-b") || failed.out.contains("broker-b"), "{failed:?}");

    a.redis.as_mut().unwrap().restart();
    both_are_heard(&a).await;
    let began = Instant::now();
    while revoke(&b, AGENT).await["confirmed"] != json!(["broker-a", "broker-b"]) {
        assert!(began.elapsed() < Duration::from_secs(20), "they did not find each other again");
    }
    b.leave().await;
    a.finish().await;
}

async fn one_that_hangs_is_pending_and_catches_up(kind: Kind) {
    let a = TestApp::first_on(kind, Hands::default()).await;
    let proxy = Proxy::to(a.redis.as_ref().unwrap().port).await;
    let b = a.beside("broker-b", Hands::default(), proxy.port).await;
    both_are_heard(&a).await;
    let answer = revoke(&a, "owner:team-payments").await;
    assert_eq!(answer["pending"], json!([]), "{answer}");
    proxy.black_hole();
    let answer = revoke(&a, AGENT).await;
    assert_eq!(
        (&answer["confirmed"], &answer["pending"]),
        (&json!(["broker-a"]), &json!(["broker-b"])),
        "{answer}"
    );
    proxy.pass();
    let began = Instant::now();
    while revoke(&a, AGENT).await["pending"] != json!([]) {
        assert!(began.elapsed() < Duration::from_secs(20), "it did not catch up");
    }
    is_refused(&b).await;
    b.leave().await;
    a.finish().await;
}

async fn a_redis_that_refuses_writes_is_down_for_both(kind: Kind) {
    let (a, b) = two(kind, Default::default()).await;
    let redis = a.redis.as_ref().unwrap();
    revoke(&a, "owner:team-payments").await;
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = revoke(&a, AGENT).await;
    assert_eq!(
        (&answer["confirmed"], &answer["pending"]),
        (&json!(["broker-a"]), &json!(["broker-b"])),
        "{answer}"
    );
    let began = Instant::now();
    loop {
        let ready = a.send(a.http().get(format!("{}/readyz", a.public))).await;
        if ready.json()["status"] == "degraded" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{}", ready.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(command(&a, "everything").await.code == Some(1));
    is_refused(&b).await;
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    b.leave().await;
    a.finish().await;
}

/// Fields of `stops` for stops that have no number.
fn without_number(app: &TestApp) -> Vec<String> {
    let fields: Vec<String> = app.redis.as_ref().unwrap().command(&["HKEYS", "hallpass:{revocation}:stops"]);
    fields.into_iter().filter(|field| field.starts_with("unnumbered:")).collect()
}

/// Many at once, and one target twice: each gets its number, none is given back, and each can be lifted.
async fn stops_of_an_outage_hold_everywhere_and_get_their_numbers(kind: Kind) {
    let (a, b) = two(kind, Default::default()).await;
    let tokens = [a.issue().await, b.issue().await];
    a.lose_store();
    for target in [AGENT, "owner:team-payments", AGENT, "issuer:ci", "everything"] {
        let answer = revoke(&a, target).await;
        assert_eq!(answer["audit"], "pending", "{answer}");
        assert_eq!(answer["confirmed"], json!(["broker-a", "broker-b"]), "{answer}");
    }
    for flushed in [false, true] {
        if flushed {
            a.redis.as_ref().unwrap().command::<()>(&["FLUSHALL"]);
        }
        for token in &tokens {
            assert!(!a.active(token).await && !b.active(token).await, "flushed: {flushed}");
        }
        for app in [&a, &b] {
            let answer = app.exchange(&app.proof(), &[]).await;
            assert_ne!(answer.status, 200, "{}", answer.text);
        }
    }
    a.give_store_back();
    let began = Instant::now();
    loop {
        let listed = a.admin_get("/v1/revocations?active=true").await;
        let all = listed.status == 200 && listed.json()["revocations"].as_array().unwrap().len() == 4;
        if all && without_number(&a).is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{} {:?}", listed.text, without_number(&a));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    is_refused(&a).await;
    is_refused(&b).await;
    for (n, stop) in b.admin_get("/v1/revocations?active=true").await.json()["revocations"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let app = if n % 2 == 0 { &a } else { &b };
        app.lift(stop["id"].as_str().unwrap()).await;
    }
    // Longer than a follower needs to notice what would be missing.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(without_number(&a), Vec::<String>::new(), "nobody gives them again");
    for (app, token) in [(&a, &tokens[0]), (&b, &tokens[1])] {
        let fresh = app.issue().await;
        assert!(app.active(&fresh).await);
        assert!(!app.active(token).await, "a lift resurrected it");
    }
    b.leave().await;
    a.finish().await;
}
