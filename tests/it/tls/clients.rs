//! Certificates of clients: what is asked, what is taken, and that none of it is trusted.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Extension;
use axum::routing::get;
use axum::{Router, http::StatusCode};
use hallpass::http::listener::{self, Manner, Room};
use hallpass::http::settings::{Bounds, ClientCertificates, TlsSettings};
use hallpass::http::tls::{ClientChain, Tls};
use rustls::ALL_VERSIONS;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{ask, broker};
use crate::support::broker::Hands;
use crate::support::tls::{Authority, Files, Pair, connect};

/// A listener that answers with the certificates it was shown, in hex.
async fn mirror(files: &Files, clients: ClientCertificates) -> (String, watch::Sender<bool>) {
    let settings = TlsSettings { cert_file: files.cert(), key_file: files.key(), clients, called: None };
    let (tls, _) = Tls::open("server.tls", settings, Hands::default().clock()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/", get(show));
    let (stop, stopping) = watch::channel(false);
    let room = Room::new(Bounds { connections: 100, per_source: 100, memory: 64 << 20 });
    let manner = Manner { tls: Some(tls), room, idle: Duration::from_secs(75), proxies: Arc::default() };
    tokio::spawn(listener::serve(listener, manner, router, stopping));
    (address, stop)
}

async fn show(chain: Option<Extension<ClientChain>>) -> (StatusCode, String) {
    match chain {
        None => (StatusCode::OK, "none".to_owned()),
        Some(Extension(ClientChain(chain))) => {
            let all = chain.iter().map(|certificate| hex(certificate)).collect::<Vec<_>>();
            (StatusCode::OK, all.join(" "))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_chain_of_a_client_is_there_for_each_request() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (address, _stop) = mirror(&files, ClientCertificates::Any).await;
    for version in ALL_VERSIONS {
        let bare = authority.client(&[version], &[], None);
        let mut stream = connect(&address, bare).await.unwrap();
        assert_eq!(ask(&mut stream, "/").await.1, "none");

        let other = Authority::new();
        for pair in [
            authority.pair("agent"),
            other.pair("agent"),
            Pair::self_signed("agent", 2090),
            Pair::self_signed("agent", 2021),
        ] {
            let config = authority.client(&[version], &[], Some(&pair));
            let mut stream = connect(&address, config).await.unwrap();
            for _ in 0..2 {
                assert_eq!(ask(&mut stream, "/").await.1, hex(&pair.der()));
            }
        }
        let pair = other.pair("agent");
        let mut config = authority.client(&[version], &[], Some(&pair));
        config.client_auth_cert_resolver = sent(vec![pair.der(), other.der()], &pair);
        let mut stream = connect(&address, config).await.unwrap();
        assert_eq!(ask(&mut stream, "/").await.1, format!("{} {}", hex(&pair.der()), hex(&other.der())));
    }
}

/// What a client sends: these certificates, and a signature by the key of `by`.
fn sent(chain: Vec<rustls::pki_types::CertificateDer<'static>>, by: &Pair) -> Arc<SingleCertAndKey> {
    let key = rustls::crypto::ring::sign::any_supported_type(&by.key_der()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Whether the listener takes requests of this client. In TLS 1.3 a client hears of a refusal with the first answer.
async fn lets_in(address: &str, config: rustls::ClientConfig) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = connect(address, config).await else { return false };
    if stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
        return false;
    }
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.is_ok_and(|_| answer == *b"HTTP/1.1")
}

#[tokio::test]
async fn whoever_does_not_hold_the_key_of_a_certificate_cannot_show_it() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (address, _stop) = mirror(&files, ClientCertificates::Any).await;
    let (victim, thief) = (authority.pair("victim"), authority.pair("thief"));
    for version in ALL_VERSIONS {
        let attempt = |chain: Vec<_>, by: &Pair| {
            let mut config = authority.client(&[version], &[], Some(&thief));
            config.client_auth_cert_resolver = sent(chain, by);
            lets_in(&address, config)
        };
        assert!(attempt(vec![thief.der()], &thief).await);
        assert!(!attempt(vec![victim.der()], &thief).await, "a stolen certificate");
        assert!(!attempt(vec![victim.der(), thief.der()], &thief).await, "the key of a later one");
        assert!(!attempt(vec![thief.der(); 11], &thief).await, "a chain without an end");
        assert!(!attempt(vec![vec![0x30, 0].into()], &thief).await, "no certificate");
    }
}

#[tokio::test]
async fn a_certificate_gives_no_right() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let (app, address) = broker(&files, "").await;
    for pair in [authority.pair("payments-refactorer"), Pair::self_signed("payments-refactorer", 2021)] {
        let client = authority.http(Some(&pair));
        for (path, body, status) in [
            ("/oauth/token", "grant_type=client_credentials&client_id=payments-refactorer", 401),
            ("/oauth/token", "grant_type=client_credentials", 401),
            ("/oauth/introspect", "token=x", 401),
        ] {
            let request = client.post(format!("https://{address}{path}")).body(body);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            assert_eq!(request.send().await.unwrap().status(), status, "{path} {body}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn with_client_ca_files_only_their_clients_connect() {
    let (authority, agents) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.pair("127.0.0.1"));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("agents.pem");
    std::fs::write(&ca, agents.pem()).unwrap();
    let (app, address) = broker(&files, &format!("client_ca_files = ['{}']\n", ca.display())).await;
    for version in ALL_VERSIONS {
        let attempt = |pair: Option<&Pair>| lets_in(&address, authority.client(&[version], &[], pair));
        assert!(attempt(Some(&agents.pair("agent"))).await);
        assert!(!attempt(None).await, "no certificate");
        assert!(!attempt(Some(&authority.pair("agent"))).await, "another authority's");
        assert!(!attempt(Some(&agents.pair_until("agent", 2021))).await, "one that ended");
        assert!(!attempt(Some(&Pair::self_signed("agent", 2090))).await, "its own");
    }
    // The end of one is judged by the broker's clock, at each connection.
    let pair = agents.pair_until("agent", 2089);
    let config = authority.client(ALL_VERSIONS, &[], Some(&pair));
    assert!(lets_in(&address, config.clone()).await);
    app.hands.push(70 * 366 * 86_400);
    assert!(!lets_in(&address, config).await);
    app.hands.push(-70 * 366 * 86_400);
    app.finish().await;
}
