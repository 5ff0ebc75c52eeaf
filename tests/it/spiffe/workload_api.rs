//! The SPIFFE Workload API: where `hallpass token` finds its identity, and the broker a bundle.

use std::sync::Arc;

use super::agent::{Agent, Mood};
use super::world::{AGENT, Domain, ask, ask_patiently};
use crate::support::broker::{AUDIENCE, Backend, TestApp, decode};
use crate::support::command::{Ran, hallpass, ran};
use crate::support::tls::{Authority, Files};

/// A broker that has the bundle of `acme.internal` from the agent's socket.
async fn broker(agent: &Agent, more: &str) -> TestApp {
    let more = format!(
        "{more}[[trust_domain]]\nname = \"acme.internal\"\nworkload_api = \"{}\"\n",
        agent.endpoint()
    );
    let put = |folder: &std::path::Path| {
        std::fs::write(folder.join("agents/payments-refactorer.toml"), super::agent()).unwrap();
    };
    TestApp::prepared(Backend::Memory, &more, put).await
}

/// `hallpass token` with these words, and the socket in its environment unless they name one.
async fn token(app: &TestApp, agent: &Agent, args: &[&str]) -> Ran {
    let all = [&["token", "-v", "--audience", AUDIENCE, "--format", "token"], args].concat();
    let mut command = hallpass(app, &all);
    if !args.contains(&"--spiffe-socket") {
        command.env("SPIFFE_ENDPOINT_SOCKET", agent.endpoint());
    }
    let ran = ran(command).await;
    if ran.code == Some(0) {
        app.note_released(ran.out.trim());
    }
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_gets_its_token_with_nothing_but_the_socket() {
    let (acme, other) = (Arc::new(Domain::new("acme.internal")), Arc::new(Domain::new("other.internal")));
    let second = "spiffe://acme.internal/agents/second";
    // Two trust domains on one socket; the broker trusts one of them.
    let agent = Agent::start(&[AGENT, second], &[Arc::clone(&acme), other]);
    let app = broker(&agent, "").await;
    let endpoint = agent.endpoint();
    for args in [&[][..], &["--spiffe-socket", &endpoint], &["--spiffe-id", AGENT]] {
        let ran = token(&app, &agent, args).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(decode(ran.out.trim())["workload"], format!("acme.internal|{AGENT}"));
        assert!(ran.err.contains("a JWT-SVID of the SPIFFE Workload API at unix://"), "{}", ran.err);
    }
    // Its other identity is no agent, and an identity that it has not is none.
    let ran = token(&app, &agent, &["--spiffe-id", second]).await;
    assert!(ran.code == Some(3) && ran.err.contains("no_agent"), "{ran:?}");
    let ran = token(&app, &agent, &["--spiffe-id", "spiffe://acme.internal/agents/third"]).await;
    assert!(ran.code == Some(1) && ran.err.contains("spire-server entry create"), "{ran:?}");
    let ran = token(&app, &agent, &["--spiffe-id", "spiffe://acme.internal/x/../y"]).await;
    assert!(ran.code == Some(2) && ran.err.contains("segments"), "{ran:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_misbehaves_gives_nobody_an_identity() {
    let acme = Arc::new(Domain::new("acme.internal"));
    let mut agent = Agent::start(&[AGENT], &[acme]);
    let app = broker(&agent, "").await;
    for (mood, says) in [
        (Mood::Denies, "spire-server entry create"),
        (Mood::Babbles, "proof_malformed"),
        (Mood::Hangs, "did not answer within 5 s"),
    ] {
        agent.is(mood);
        let ran = token(&app, &agent, &["--timeout", "6s"]).await;
        assert!(ran.code != Some(0) && ran.out.is_empty(), "{ran:?}");
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert!(!ran.err.contains("no JWT"), "{}", ran.err);
    }
    agent.dies();
    let ran = token(&app, &agent, &["--timeout", "1s"]).await;
    assert!(ran.code == Some(1) && ran.err.contains("is a SPIRE agent running here"), "{ran:?}");
    let ran = token(&app, &agent, &["--spiffe-socket", "/run/spire/agent.sock"]).await;
    assert!(ran.code == Some(2) && ran.err.contains("unix:///run/spire"), "{ran:?}");
    // It is not encrypted, so nobody beyond this machine is asked.
    let ran = token(&app, &agent, &["--spiffe-socket", "tcp://192.0.2.1:8081", "--timeout", "1s"]).await;
    assert!(ran.code == Some(2) && ran.err.contains("is not on this machine"), "{ran:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_follows_the_bundle_of_its_socket() {
    let servers = Authority::new();
    let files = Files::of(&servers.pair("127.0.0.1"));
    let (old, other) = (Arc::new(Domain::new("acme.internal")), Arc::new(Domain::new("other.internal")));
    let mut agent = Agent::start(&[AGENT], &[Arc::clone(&old), Arc::clone(&other)]);
    // Not there at the start: the broker starts all the same.
    agent.dies();
    let app = broker(&agent, &files.section("server")).await;
    let client = old.svid(AGENT).client(&servers);
    assert_eq!(ask(&app, &client, &[]).await.reason(), "issuer_unavailable");
    let ready =
        app.send(servers.http(None).get(format!("{}/readyz", app.public.replace("http:", "https:")))).await;
    assert_eq!((ready.status, ready.text.as_str()), (200, r#"{"status":"degraded"}"#));
    let ready = app.admin_get("/readyz").await;
    assert!(ready.status == 200 && ready.text.contains("issuer acme.internal"), "{}", ready.text);
    agent.serve();
    app.hands.push(6);
    ask_patiently(&app, &client).await.token();

    // The other domain's workloads are nobody's here, though the socket has its bundle.
    let stranger = other.svid("spiffe://other.internal/agents/payments-refactorer").client(&servers);
    assert_eq!(ask(&app, &stranger, &[]).await.reason(), "issuer_unknown");
    let forged = other.svid(AGENT).client(&servers);
    assert_eq!(ask(&app, &forged, &[]).await.reason(), "signature_invalid");

    // Whatever it says, or nothing: the last good bundle serves.
    for mood in [Mood::Babbles, Mood::Forgets, Mood::Denies, Mood::Hangs] {
        agent.is(mood);
        app.hands.push(10);
        ask(&app, &client, &[]).await.token();
    }
    agent.dies();
    app.hands.push(10);
    ask(&app, &client, &[]).await.token();

    // Back with rotated keys: the old ones are refused, the new ones vouch.
    let new = Arc::new(Domain::new("acme.internal"));
    {
        let mut knows = agent.knows.lock().unwrap();
        (knows.mood, knows.domains) = (Mood::Good, vec![Arc::clone(&new)]);
    }
    agent.serve();
    app.hands.push(10);
    ask_patiently(&app, &new.svid(AGENT).client(&servers)).await.token();
    assert_eq!(ask(&app, &client, &[]).await.reason(), "signature_invalid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trust_domains_of_one_socket_vouch_each_for_its_own() {
    let servers = Authority::new();
    let files = Files::of(&servers.pair("127.0.0.1"));
    let (acme, other) = (Arc::new(Domain::new("acme.internal")), Arc::new(Domain::new("other.internal")));
    let agent = Agent::start(&[AGENT], &[Arc::clone(&acme), Arc::clone(&other)]);
    let second =
        format!("[[trust_domain]]\nname = \"other.internal\"\nworkload_api = \"{}\"\n", agent.endpoint());
    let app = broker(&agent, &format!("{}{second}", files.section("server"))).await;
    ask_patiently(&app, &acme.svid(AGENT).client(&servers)).await.token();
    // Vouched for, and no agent.
    let stranger = other.svid("spiffe://other.internal/agents/payments-refactorer").client(&servers);
    assert_eq!(ask_patiently(&app, &stranger).await.reason(), "no_agent");
    for (signer, id) in [(&other, AGENT), (&acme, "spiffe://other.internal/agents/payments-refactorer")] {
        let forged = signer.svid(id).client(&servers);
        assert_eq!(ask(&app, &forged, &[]).await.reason(), "signature_invalid", "{id}");
    }
    // A stop of one leaves the other's workloads alone.
    app.revoke("issuer:other.internal").await;
    ask(&app, &acme.svid(AGENT).client(&servers), &[]).await.token();
    app.finish().await;
}
