//! The bearer token for an issuer's keys: read at each fetch, and shown to that issuer alone.

use std::fs;
use std::path::{Path, PathBuf};

use hallpass::domain::reason::Reason;
use hallpass::identity::settings::{IssuerSettings, KeySource};

use super::{Bench, eventually, issuer_settings};
use crate::support::issuer::{Issuer, Mood};

const CANARY: &str = "canary-of-the-api-server";

fn with_bearer(issuer: &Issuer, keys: KeySource, file: &Path) -> IssuerSettings {
    let jwks_bearer_file = Some(PathBuf::from(file));
    IssuerSettings { jwks_bearer_file, ..issuer_settings("ci", issuer.url(), keys) }
}

async fn guarded(bearer: &str) -> (Issuer, tempfile::TempDir, PathBuf) {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Guarded(bearer.to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{bearer}\n")).unwrap();
    (issuer, folder, file)
}

#[tokio::test]
async fn it_opens_discovery_and_keys_and_is_read_again_when_it_is_renewed() {
    let (issuer, _folder, file) = guarded(CANARY).await;
    let bench = Bench::with(vec![with_bearer(&issuer, KeySource::Discovery, &file)]);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert_eq!(issuer.authorizations(), [format!("Bearer {CANARY}"), format!("Bearer {CANARY}")]);

    // The kubelet writes another, and the API server takes no other from now on.
    issuer.behave(Mood::Guarded("renewed".to_owned()));
    fs::write(&file, "renewed").unwrap();
    bench.hands.forward(16 * 60);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert_eq!(issuer.authorizations()[2..], ["Bearer renewed", "Bearer renewed"]);
}

#[tokio::test]
async fn no_other_host_sees_it_whatever_the_issuer_says() {
    let (issuer, _folder, file) = guarded(CANARY).await;
    let elsewhere = Issuer::start().await;
    issuer.behave(Mood::KeysElsewhere(elsewhere.jwks_url()));
    let bench = Bench::with(vec![with_bearer(&issuer, KeySource::Discovery, &file)]);
    let _ = bench.try_fresh(&issuer).await;
    assert_eq!(elsewhere.authorizations(), [""]);

    // Where the other host insists on one, the operator is told what to write.
    elsewhere.behave(Mood::Guarded(CANARY.to_owned()));
    bench.hands.forward(16 * 60);
    let _ = bench.try_fresh(&issuer).await;
    assert_eq!(elsewhere.authorizations(), ["", ""]);
    eventually("the reason shows", || bench.last_error().is_some_and(|e| e.contains("write jwks_url"))).await;

    // Named by the operator, it is where the bearer is meant for.
    let keys = KeySource::Url(elsewhere.jwks_url().parse().unwrap());
    let bench = Bench::with(vec![with_bearer(&issuer, keys, &file)]);
    let _ = bench.try_fresh(&issuer).await;
    assert_eq!(elsewhere.authorizations()[2..], [format!("Bearer {CANARY}")]);
}

#[tokio::test]
async fn a_redirect_does_not_carry_it_away() {
    let (issuer, _folder, file) = guarded(CANARY).await;
    let elsewhere = Issuer::start().await;
    issuer.behave(Mood::Redirects(elsewhere.jwks_url()));
    let bench = Bench::with(vec![with_bearer(&issuer, KeySource::Discovery, &file)]);
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn what_is_no_bearer_token_is_told_without_being_shown() {
    let (issuer, _folder, file) = guarded(CANARY).await;
    for (text, told) in [
        (format!("{CANARY}\r\nx-evil: 1"), "one line of visible ASCII"),
        (format!("{CANARY}\u{e9}"), "one line of visible ASCII"),
        ("  \n".to_owned(), "one line of visible ASCII"),
        (CANARY.repeat(1000), "one line of visible ASCII"),
        ("not-the-one".to_owned(), "status 401"),
    ] {
        fs::write(&file, text).unwrap();
        let bench = Bench::with(vec![with_bearer(&issuer, KeySource::Discovery, &file)]);
        assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
        let error = bench.last_error().unwrap();
        assert!(error.contains(told) && !error.contains(CANARY), "{error}");
        assert!(!format!("{bench:?}", bench = bench.authenticator).contains(CANARY));
    }
    fs::remove_file(&file).unwrap();
    let bench = Bench::with(vec![with_bearer(&issuer, KeySource::Discovery, &file)]);
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    assert!(bench.last_error().unwrap().contains("jwks_bearer_file: No such file"));
}
