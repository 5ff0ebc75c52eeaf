//! Certificates that are renewed, well or badly, while connections are open.

use std::fs;
use std::time::Duration;

use rustls::ALL_VERSIONS;
use rustls::pki_types::CertificateDer;

use super::{ask, broker};
use crate::support::tls::{Authority, Files, Pair, connect};

/// The certificate that a new connection is shown.
async fn shown(authority: &Authority, address: &str) -> CertificateDer<'static> {
    let stream = connect(address, authority.client(ALL_VERSIONS, &[], None)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

async fn until_shown(authority: &Authority, address: &str, pair: &Pair) {
    for _ in 0..100 {
        if shown(authority, address).await == pair.der() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the renewed certificate does not serve");
}

async fn readiness(authority: &Authority, address: &str) -> String {
    let answer = authority.http(None).get(format!("https://{address}/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

async fn until_ready_says(authority: &Authority, address: &str, wanted: &str) {
    for _ in 0..100 {
        if readiness(authority, address).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} is not {wanted}", readiness(authority, address).await);
}

const DEGRADED: &str = r#"{"status":"degraded"}"#;
const OK: &str = r#"{"status":"ok"}"#;

#[tokio::test]
async fn a_renewed_pair_serves_new_connections_and_breaks_none() {
    let authority = Authority::new();
    let (first, second) = (authority.pair("127.0.0.1"), authority.pair("127.0.0.1"));
    let files = Files::of(&first);
    let (app, address) = broker(&files, "").await;
    let mut open = connect(&address, authority.client(ALL_VERSIONS, &[], None)).await.unwrap();
    assert_eq!(ask(&mut open, "/healthz").await.0, "HTTP/1.1 200 OK");
    assert!(shown(&authority, &address).await == first.der());

    files.put(&second);
    until_shown(&authority, &address, &second).await;
    assert_eq!(ask(&mut open, "/healthz").await.0, "HTTP/1.1 200 OK");
    assert!(open.get_ref().1.peer_certificates().unwrap()[0] == first.der());

    // As Kubernetes renews: the name is a link that is turned to another file.
    let elsewhere = Files::of(&first);
    for (link, target) in [(files.cert(), elsewhere.cert()), (files.key(), elsewhere.key())] {
        let beside = link.with_extension("new");
        std::os::unix::fs::symlink(target, &beside).unwrap();
        fs::rename(beside, link).unwrap();
    }
    until_shown(&authority, &address, &first).await;
    assert_eq!(readiness(&authority, &address).await, OK);
    app.finish().await;
}

#[tokio::test]
async fn a_pair_that_cannot_serve_does_not_take_over() {
    let authority = Authority::new();
    let (first, second) = (authority.pair("127.0.0.1"), authority.pair("127.0.0.1"));
    let files = Files::of(&first);
    let (app, address) = broker(&files, "").await;
    let ended = authority.pair_until("127.0.0.1", 2021);
    let bad: [(&str, &dyn Fn()); 4] = [
        ("no PEM", &|| fs::write(files.cert(), "soon").unwrap()),
        ("another's key", &|| fs::write(files.cert(), second.certificate.pem()).unwrap()),
        ("no longer good", &|| files.put(&ended)),
        ("gone", &|| fs::remove_file(files.key()).unwrap()),
    ];
    for (what, spoil) in bad {
        spoil();
        until_ready_says(&authority, &address, DEGRADED).await;
        let detail =
            "tls: the files of server.tls cannot be used, so those read before serve; the log says why";
        assert_eq!(app.admin_get("/readyz").await.json()["degraded"], serde_json::json!([detail]), "{what}");
        assert!(shown(&authority, &address).await == first.der(), "{what}");
        files.put(&first);
        until_ready_says(&authority, &address, OK).await;
    }
    files.put(&second);
    until_shown(&authority, &address, &second).await;
    app.finish().await;
}

#[tokio::test]
async fn a_certificate_that_ends_while_it_serves_is_told() {
    let authority = Authority::new();
    let files = Files::of(&authority.pair_until("127.0.0.1", 2089));
    let (app, address) = broker(&files, "").await;
    app.hands.push(70 * 366 * 86_400);
    assert_eq!(readiness(&authority, &address).await, DEGRADED);
    let readiness = app.admin_get("/readyz").await.text;
    assert!(
        readiness.contains("the certificate of server.tls ended at 2089-01-01T00:00:00.000Z"),
        "{readiness}"
    );
    app.hands.push(-70 * 366 * 86_400);
    app.finish().await;
}
