//! What the client asks, what it takes, and what its errors say.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::domain::pem::PemError;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    total: Some(Duration::from_millis(500)),
    body: 1 << 10,
    keep_alive: false,
};

/// A server that reads one request's head from each connection and answers as `answer` says.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            answer(&String::from_utf8_lossy(&head), &mut stream);
        }
    });
    address
}

fn say(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let _ = write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(body);
}

async fn get(url: &str) -> Result<Response, Error> {
    let client = Client::new(LIMITS, Roots::Nobody, None).unwrap();
    client.send(Request::new(Method::GET, url.parse().unwrap())).await
}

#[tokio::test]
async fn an_address_that_is_not_secure_is_not_asked() {
    // It listens on every address, so that a request to any of them would arrive.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(get(&format!("http://0.0.0.0:{port}/")).await.unwrap_err(), Error::Insecure);
    assert!(listener.accept().is_err(), "something was sent");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = elsewhere.local_addr().unwrap();
    let address =
        serve(move |_, stream| say(stream, &format!("302 Found\r\nlocation: http://{there}/"), b""));
    assert_eq!(get(&format!("http://{address}/")).await.unwrap().status(), 302);
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
}

#[tokio::test]
async fn an_answer_has_a_size_and_a_time() {
    let address = serve(|head, stream| match head.split(' ').nth(1).unwrap() {
        "/most" => say(stream, "200 OK", &[b'x'; 1 << 10]),
        "/more" => say(stream, "200 OK", &[b'x'; (1 << 10) + 1]),
        "/short" => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")),
        _ => std::thread::sleep(Duration::from_millis(900)),
    });
    let body = async |path: &str| get(&format!("http://{address}{path}")).await?.body().await;
    assert_eq!(body("/most").await.unwrap().len(), 1 << 10);
    let more = body("/more").await.unwrap_err();
    assert_eq!((&more, more.to_string().as_str()), (&Error::TooLarge(1 << 10), "the answer is over 1 KiB"));
    assert!(matches!(body("/short").await, Err(Error::BrokenOff(_))));
    assert_eq!(body("/never").await.unwrap_err(), Error::BrokenOff("no answer in time".to_owned()));
}

#[tokio::test]
async fn an_error_names_the_cause_at_the_bottom_and_no_address() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = get(&format!("http://{free}/canary?token=canary")).await.unwrap_err();
    assert!(matches!(&refused, Error::Unreachable { tls: false, .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("Connection refused"), "{refused}");
    assert!(!format!("{refused:?}").contains("canary"));
}

#[tokio::test]
async fn a_certificate_of_nobody_is_an_error_of_tls() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = acceptor.accept(stream).await;
        }
    });
    let error = get(&format!("https://localhost:{port}/")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { tls: true, .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_bundle_without_certificates_adds_no_trust() {
    for pem in ["", "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert_eq!(
            Roots::and_pem(pem.as_bytes()).map(drop),
            Err(Error::NoCertificates(PemError::NoCertificate)),
            "{pem:?}"
        );
    }
    // What calls itself one and is none is found when the client is made.
    let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let made = Roots::and_pem(empty).and_then(|roots| Client::new(LIMITS, roots, None));
    assert!(matches!(made, Err(Error::SetUp(_) | Error::NoCertificates(_))));
}
