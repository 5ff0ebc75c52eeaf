//! An issuer over TLS: trusted through its own `ca_file`, and through no other's.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hallpass::domain::reason::Reason;
use hallpass::identity::Authenticator;
use hallpass::identity::settings::{IssuerSettings, KeySource};
use hallpass::outbound::Way;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{Bench, START, US, issuer_settings, us};
use crate::support::issuer::Issuer;
use crate::support::signer::Signer;

/// Serves discovery and a set of one key over TLS, from a thread that ends with the process.
struct TlsIssuer {
    url: String,
    signer: Signer,
    certificate: String,
}

impl TlsIssuer {
    fn start() -> Self {
        Self::with_keys_at(None)
    }

    /// With this `jwks_uri` in its discovery document, instead of its own.
    fn with_keys_at(elsewhere: Option<String>) -> Self {
        Self::called("localhost", elsewhere)
    }

    /// By a name that no resolver need know.
    fn called(host: &str, elsewhere: Option<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("https://{host}:{}", listener.local_addr().unwrap().port());
        let signer = Signer::es256("k");
        let jwks_uri = elsewhere.unwrap_or_else(|| format!("{url}/jwks"));
        let discovery = json!({"issuer": url, "jwks_uri": jwks_uri}).to_string();
        let keys = json!({"keys": [signer.published_jwk()]}).to_string();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(own.cert.der().to_vec())],
                PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // A client that does not trust the certificate ends the handshake: not this thread's concern.
                let _ = answer(socket.unwrap(), &config, &discovery, &keys);
            }
        });
        Self { url, signer, certificate: own.cert.pem() }
    }

    fn settings(&self, ca_file: Option<PathBuf>) -> IssuerSettings {
        IssuerSettings { ca_file, ..issuer_settings("ci", &self.url, KeySource::Discovery) }
    }

    fn token(&self) -> String {
        self.signer.token(&json!({"iss": self.url, "sub": "s", "aud": US, "iat": START, "exp": START + 300}))
    }
}

fn answer(socket: TcpStream, config: &Arc<ServerConfig>, discovery: &str, keys: &str) -> std::io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a valid config");
    let mut stream = StreamOwned::new(connection, socket);
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..length]);
    }
    let body = if request.starts_with(b"GET /jwks ") { keys } else { discovery };
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[tokio::test]
async fn a_ca_file_vouches_for_its_issuer_alone() {
    let (ours, other) = (TlsIssuer::start(), TlsIssuer::start());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, issuer: &TlsIssuer| {
        let path = folder.path().join(name);
        std::fs::write(&path, &issuer.certificate).unwrap();
        path
    };
    let (ca, other_ca) = (write("ours.pem", &ours), write("other.pem", &other));
    let bench = Bench::with(vec![ours.settings(Some(ca))]);
    assert_eq!(bench.jwt(&ours.token()).await.unwrap().workload().to_string(), "ci|s");

    let bench = Bench::with(vec![ours.settings(Some(other_ca))]);
    assert_eq!(bench.jwt(&ours.token()).await.unwrap_err(), Reason::IssuerUnavailable);
    let error = bench.last_error().unwrap();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_issuer_out_there_cannot_point_at_the_brokers_own_host() {
    let inside = Issuer::start().await;
    let ours = TlsIssuer::with_keys_at(Some(inside.jwks_url()));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &ours.certificate).unwrap();
    let bench = Bench::with(vec![ours.settings(Some(ca))]);
    assert_eq!(bench.jwt(&ours.token()).await.unwrap_err(), Reason::IssuerUnavailable);
    let error = bench.last_error().unwrap();
    assert!(error.contains("jwks_uri"), "{error}");
    assert_eq!(inside.requests(), 0);
}

/// A proxy that connects whoever asks with this machine, whatever the name of the host, or refuses everybody.
fn proxy(open: bool) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, noted) = (client.unwrap(), Arc::clone(&noted));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().unwrap().push(head);
                if !open {
                    let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
                    return;
                }
                let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
                let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let (mut back, mut there) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut server, &mut back));
                let _ = std::io::copy(&mut client, &mut there);
            });
        }
    });
    (port, asked)
}

#[tokio::test]
async fn an_issuer_is_asked_by_the_proxy_that_is_configured_and_errors_name_it() {
    let issuer = TlsIssuer::called("issuer.test", None);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issuer.certificate).unwrap();
    let by = |way: Way| {
        let (hands, settings) = (super::Hands::new(), issuer.settings(Some(ca_file.clone())));
        let authenticator = Authenticator::asking_by(&way, vec![settings], &[], us(), hands.clock()).unwrap();
        Bench { authenticator, hands }
    };
    let (port, asked) = proxy(true);
    let bench = by(Way::by(&format!("http://agent:canary@127.0.0.1:{port}"), "").unwrap());
    assert!(bench.jwt(&issuer.token()).await.is_ok(), "{:?}", bench.last_error());
    let asked: Vec<String> = asked.lock().unwrap().clone();
    let target = issuer.url.trim_start_matches("https://");
    assert!(asked.iter().all(|head| head.starts_with(&format!("CONNECT {target} "))), "{asked:?}");
    assert!(asked[0].to_ascii_lowercase().contains("proxy-authorization: basic "), "{asked:?}");

    let (closed, _) = proxy(false);
    let bench = by(Way::by(&format!("http://agent:canary@127.0.0.1:{closed}"), "").unwrap());
    assert_eq!(bench.jwt(&issuer.token()).await.unwrap_err(), Reason::IssuerUnavailable);
    let error = bench.last_error().unwrap();
    assert!(
        error.contains(&format!("by the proxy 127.0.0.1:{closed}")) && !error.contains("canary"),
        "{error}"
    );

    // Who is listed is asked itself, as everybody is without a proxy.
    for way in [Way::by(&format!("http://127.0.0.1:{port}"), "test").unwrap(), Way::default()] {
        let bench = by(way);
        assert_eq!(bench.jwt(&issuer.token()).await.unwrap_err(), Reason::IssuerUnavailable);
        assert!(!bench.last_error().unwrap().contains("proxy"));
    }
}
