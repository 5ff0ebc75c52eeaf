//! What the operator gives: files of keys and certificates, and mistakes in them.

use std::path::Path;

use hallpass::domain::reason::Reason;
use hallpass::identity::settings::KeySource;
use hallpass::identity::{Authenticator, AuthenticatorError};
use serde_json::{Value, json};

use super::{Bench, Hands, START, US, eventually, issuer_settings, us};
use crate::support::signer::Signer;

fn write_set(path: &Path, signer: &Signer) {
    std::fs::write(path, json!({"keys": [signer.published_jwk()]}).to_string()).unwrap();
}

fn file_claims(now: i64) -> Value {
    json!({"iss": "https://ci.test", "sub": "s", "aud": US, "iat": now, "exp": now + 300})
}

#[tokio::test]
async fn a_jwks_file_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let (old, new) = (Signer::es256("k"), Signer::es256("k"));
    write_set(&path, &old);
    let bench = Bench::with(vec![issuer_settings("ci", "https://ci.test", KeySource::File(path.clone()))]);
    let (by_old, by_new) = (old.token(&file_claims(START)), new.token(&file_claims(START)));
    assert!(bench.jwt(&by_old).await.is_ok());
    write_set(&path, &new);
    bench.hands.forward(2);
    assert_eq!(bench.jwt(&by_old).await.unwrap_err(), Reason::SignatureInvalid);
    assert!(bench.jwt(&by_new).await.is_ok());
    // A file that is gone, or half written, leaves the last good set.
    std::fs::write(&path, "{\"keys\":").unwrap();
    bench.hands.forward(2);
    assert!(bench.jwt(&by_new).await.is_ok());
    eventually("the fault shows", || bench.last_error().is_some_and(|e| e.contains("JWK set"))).await;
    std::fs::remove_file(&path).unwrap();
    bench.hands.forward(2);
    assert!(bench.jwt(&by_new).await.is_ok());
    eventually("the fault shows", || bench.last_error().is_some_and(|e| e.contains("No such file"))).await;
}

#[test]
fn a_mistake_in_the_settings_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.json");
    let start = |issuers| {
        Authenticator::new(issuers, &[], us(), Hands::new().clock()).map(|_| ()).unwrap_err().to_string()
    };
    let file = |path: &Path| vec![issuer_settings("ci", "https://ci.test", KeySource::File(path.to_owned()))];

    let error = start(file(&bad));
    assert!(error.contains("issuer ci") && error.contains("bad.json"), "{error}");
    std::fs::write(&bad, "{}").unwrap();
    assert!(start(file(&bad)).contains("not a JWK set"));
    std::fs::write(&bad, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
    assert!(start(file(&bad)).contains("no usable key"));

    let error = start(vec![issuer_settings("ci", "http://ci.test", KeySource::Discovery)]);
    assert!(error.contains("https"), "{error}");
    let keys = KeySource::Url("http://10.0.0.1/jwks".parse().unwrap());
    assert!(start(vec![issuer_settings("ci", "https://ci.test", keys)]).contains("https"));

    let good = folder.path().join("good.json");
    write_set(&good, &Signer::es256("k"));
    let named = |name: &str, url: &str| issuer_settings(name, url, KeySource::File(good.clone()));
    assert!(start(vec![named("a", "https://a.test"), named("b", "https://a.test")]).contains("same url"));
    assert!(start(vec![named("a", "https://a.test"), named("a", "https://b.test")]).contains("called a"));
    assert!(start(vec![named("key", "https://a.test")]).contains("called key"));
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_named() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let start = || {
        let mut settings = issuer_settings("ci", "https://ci.test", KeySource::Discovery);
        settings.ca_file = Some(path.clone());
        Authenticator::new(vec![settings], &[], us(), Hands::new().clock()).map(|_| ())
    };
    assert!(matches!(start(), Err(AuthenticatorError::Unreadable { .. })));
    std::fs::write(&path, "not a certificate").unwrap();
    assert!(matches!(start(), Err(AuthenticatorError::BadCertificates { .. })));
    let key = rcgen::generate_simple_self_signed(vec!["ci.test".to_owned()]).unwrap();
    std::fs::write(&path, key.cert.pem()).unwrap();
    assert!(start().is_ok());
}
