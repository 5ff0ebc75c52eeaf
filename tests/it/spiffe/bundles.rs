//! Bundles: renewed, broken, and fetched from an endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::World;
use super::world::{AGENT, Chain, Domain, ask, ask_patiently};
use crate::support::broker::{Backend, TestApp};
use crate::support::tls::{Authority, Files};

#[tokio::test]
async fn a_rotated_bundle_is_taken_over_and_a_broken_one_never() {
    let mut world = World::new(Backend::Memory).await;
    let old = world.acme.svid(AGENT).client(&world.servers);
    ask(&world.app, &old, &[]).await.token();

    // Broken in any way: the last good one serves, and readiness says so.
    let good = world.acme.bundle(9).to_string();
    let empty = serde_json::json!({"keys": []}).to_string();
    for (broken, what) in [
        ("", "nothing"),
        ("{", "no JSON"),
        (empty.as_str(), "no keys"),
        (&world.acme.bundle(6).to_string(), "an older sequence"),
    ] {
        std::fs::write(world.app.file("acme.internal.json"), broken).unwrap();
        world.app.hands.push(3);
        // The call that finds it old waits for the new one; the next one knows that it was refused.
        ask(&world.app, &old, &[]).await.token();
        ask(&world.app, &old, &[]).await.token();
        let ready = world.app.send(world.servers.http(None).get(world.url("/readyz"))).await;
        assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")), "{what}");
        assert_eq!(ready.text, r#"{"status":"degraded"}"#, "{what}");
        let ready = world.app.admin_get("/readyz").await;
        assert!(ready.text.contains("issuer acme.internal"), "{what}: {}", ready.text);
        let metrics = world.app.admin_get("/metrics").await.text;
        assert!(metrics.contains("hallpass_issuer_fetch_failing{issuer=\"acme.internal\"} 1"), "{metrics}");
    }
    std::fs::write(world.app.file("acme.internal.json"), good).unwrap();
    world.app.hands.push(3);
    ask(&world.app, &old, &[]).await.token();

    // Rotated: who was vouched for by the old authority is not any more.
    world.acme = Arc::new(Domain::new("acme.internal"));
    world.put_bundle("acme.internal", &world.acme.bundle(10));
    world.app.hands.push(3);
    let new = world.acme.svid(AGENT).client(&world.servers);
    ask_patiently(&world.app, &new).await.token();
    assert_eq!(ask(&world.app, &old, &[]).await.reason(), "signature_invalid");
    world.app.finish().await;
}

/// What a bundle endpoint answers next, and how often it was asked.
#[derive(Clone)]
struct Endpoint {
    answer: Arc<std::sync::Mutex<Next>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

enum Next {
    Bundle(Value),
    Redirect,
    Huge,
    Hang,
    Status(u16),
}

async fn serve(State(endpoint): State<Endpoint>) -> Response {
    endpoint.asked.fetch_add(1, Ordering::SeqCst);
    let answer = match &*endpoint.answer.lock().unwrap() {
        Next::Bundle(bundle) => Some(bundle.to_string().into_response()),
        Next::Redirect => {
            Some((StatusCode::FOUND, [(header::LOCATION, endpoint.url.clone())]).into_response())
        }
        Next::Huge => Some(" ".repeat(600 * 1024).into_response()),
        Next::Status(status) => Some(StatusCode::from_u16(*status).unwrap().into_response()),
        Next::Hang => None,
    };
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

impl Endpoint {
    async fn start(first: Next) -> Self {
        let (listener, endpoint) = Self::bind("http", first).await;
        let router = endpoint.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        endpoint
    }

    /// The same over TLS, with a certificate of `authority`.
    async fn start_securely(first: Next, authority: &Authority) -> Self {
        let pair = authority.pair("127.0.0.1");
        Self::start_as(first, vec![pair.der()], pair.key_der()).await
    }

    /// The same with an X.509-SVID.
    async fn start_as_workload(first: Next, svid: &Chain) -> Self {
        let key = svid.key.clone().try_into().unwrap();
        Self::start_as(first, svid.certificates.clone(), key).await
    }

    async fn start_as(first: Next, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (listener, endpoint) = Self::bind("https", first).await;
        let router = endpoint.router();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate ends the handshake.
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        endpoint
    }

    async fn bind(scheme: &str, first: Next) -> (tokio::net::TcpListener, Self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/bundle", listener.local_addr().unwrap());
        let answer = Arc::new(std::sync::Mutex::new(first));
        (listener, Self { answer, asked: Arc::default(), url })
    }

    fn router(&self) -> Router {
        Router::new().route("/bundle", get(serve)).with_state(self.clone())
    }

    fn says(&self, next: Next) {
        *self.answer.lock().unwrap() = next;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A broker that has the bundle from `url`, and trusts `ca` there.
async fn broker(files: &Files, url: &str, ca: Option<&Authority>) -> TestApp {
    let ca_line = if ca.is_some() { "ca_file = \"ca.pem\"\n" } else { "" };
    let more = format!(
        "{}[[trust_domain]]\nname = \"acme.internal\"\nbundle_url = \"{url}\"\n{ca_line}",
        files.section("server")
    );
    let put = |folder: &std::path::Path| {
        std::fs::write(folder.join("agents/payments-refactorer.toml"), super::agent()).unwrap();
        if let Some(ca) = ca {
            std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
        }
    };
    TestApp::prepared(Backend::Memory, &more, put).await
}

#[tokio::test]
async fn a_bundle_endpoint_is_asked_as_it_wishes_and_its_silence_survived() {
    let servers = Authority::new();
    let files = Files::of(&servers.pair("127.0.0.1"));
    let acme = Domain::new("acme.internal");
    // Not there at the start: the broker starts all the same, and answers once it is.
    let endpoint = Endpoint::start(Next::Status(500)).await;
    let app = broker(&files, &endpoint.url, None).await;
    let client = acme.svid(AGENT).client(&servers);
    let answer = ask(&app, &client, &[]).await;
    assert_eq!((answer.status, answer.reason()), (503, "issuer_unavailable".into()));
    endpoint.says(Next::Bundle(acme.bundle(3)));
    app.hands.push(6);
    ask_patiently(&app, &client).await.token();

    // Its refresh hint is 300 seconds: not asked before, asked after, beside the call.
    let asked = endpoint.asked();
    app.hands.push(290);
    ask(&app, &client, &[]).await.token();
    assert_eq!(endpoint.asked(), asked);
    app.hands.push(20);
    ask(&app, &client, &[]).await.token();
    let mut patience = 50;
    while endpoint.asked() == asked && patience > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        patience -= 1;
    }
    assert_eq!(endpoint.asked(), asked + 1);

    // Whatever it does, the last good bundle serves: a lower sequence, a redirect, a huge answer, none.
    app.hands.push(16 * 60);
    for next in [
        Next::Bundle(Domain::new("acme.internal").bundle(2)),
        Next::Redirect,
        Next::Huge,
        Next::Status(404),
        Next::Hang,
    ] {
        endpoint.says(next);
        app.hands.push(60);
        ask(&app, &client, &[]).await.token();
    }
    // But not for ever: an hour after it became stale, nobody vouches.
    app.hands.push(2 * 3600);
    assert_eq!(ask(&app, &client, &[]).await.reason(), "issuer_unavailable");
    app.finish().await;
}

#[tokio::test]
async fn a_bundle_endpoint_is_believed_by_its_certificate_alone() {
    let servers = Authority::new();
    let files = Files::of(&servers.pair("127.0.0.1"));
    let acme = Domain::new("acme.internal");
    let (its_own, another) = (Authority::new(), Authority::new());
    let endpoint = Endpoint::start_securely(Next::Bundle(acme.bundle(3)), &its_own).await;
    let client = acme.svid(AGENT).client(&servers);
    for ca in [None, Some(&another)] {
        let app = broker(&files, &endpoint.url, ca).await;
        assert_eq!(ask(&app, &client, &[]).await.reason(), "issuer_unavailable");
        app.finish().await;
    }
    assert_eq!(endpoint.asked(), 0);
    let app = broker(&files, &endpoint.url, Some(&its_own)).await;
    ask_patiently(&app, &client).await.token();
    assert_eq!(endpoint.asked(), 1);
    app.finish().await;
}

/// The profile `https_spiffe`: neither the host's name nor the system's roots say who the endpoint is.
#[tokio::test]
async fn a_bundle_endpoint_is_known_by_its_svid_where_that_is_configured() {
    const SERVER: &str = "spiffe://acme.internal/spire/server";
    let servers = Authority::new();
    let files = Files::of(&servers.pair("127.0.0.1"));
    let (acme, stranger) = (Domain::new("acme.internal"), Domain::new("acme.internal"));
    for (what, svid, good) in [
        ("its own", acme.svid(SERVER), true),
        ("another workload's", acme.svid("spiffe://acme.internal/agents/other"), false),
        ("of another authority", stranger.svid(SERVER), false),
    ] {
        // Newer than the one that the broker begins with.
        let endpoint = Endpoint::start_as_workload(Next::Bundle(acme.bundle(9)), &svid).await;
        let more = format!(
            "{}[[trust_domain]]\nname = \"acme.internal\"\nbundle_url = \"{}\"\n\
             endpoint_spiffe_id = \"{SERVER}\"\nbootstrap_bundle_file = \"first.json\"\n",
            files.section("server"),
            endpoint.url
        );
        let put = |folder: &std::path::Path| {
            std::fs::write(folder.join("agents/payments-refactorer.toml"), super::agent()).unwrap();
            std::fs::write(folder.join("first.json"), acme.bundle(1).to_string()).unwrap();
        };
        let app = TestApp::prepared(Backend::Memory, &more, put).await;
        let client = acme.svid(AGENT).client(&servers);
        if good {
            ask_patiently(&app, &client).await.token();
            assert!(endpoint.asked() > 0);
        } else {
            let answer = ask(&app, &client, &[]).await;
            assert_eq!((answer.status, answer.reason()), (503, "issuer_unavailable".into()), "{what}");
            assert_eq!(endpoint.asked(), 0, "{what}");
        }
        app.finish().await;
    }
}
