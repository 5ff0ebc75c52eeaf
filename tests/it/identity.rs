//! Issuers as they are: keys rotate, servers hang, answer nonsense, go away and come back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::identity::VerifiedIdentity;
use hallpass::domain::reason::Reason;
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::identity::settings::{IssuerSettings, KeySource, ProofAlgorithm};
use hallpass::identity::{Authenticator, AuthenticatorError};
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, Mood};
use crate::support::signer::Signer;

const US: &str = "https://hallpass.test";
const START: i64 = 1_795_000_000;

/// A clock whose hands the test moves.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || Timestamp::from_seconds(hands.now()))
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn settings(name: &str, url: &str, keys: KeySource) -> IssuerSettings {
    IssuerSettings {
        name: name.parse().unwrap(),
        url: url.to_owned(),
        audience: US.to_owned(),
        algorithms: vec![ProofAlgorithm::Es256, ProofAlgorithm::Rs256, ProofAlgorithm::EdDsa],
        max_age: Some(Duration::from_secs(3600)),
        leeway: Duration::from_secs(30),
        keys,
        ca_file: None,
        stale_keys: Duration::from_secs(3600),
    }
}

/// A broker's side: an authenticator that trusts `issuer` by discovery.
struct Bench {
    authenticator: Authenticator,
    hands: Hands,
}

impl Bench {
    fn of(issuer: &Issuer) -> Self {
        Self::with(vec![settings("ci", issuer.url(), KeySource::Discovery)])
    }

    fn with(issuers: Vec<IssuerSettings>) -> Self {
        let hands = Hands::new();
        let authenticator = Authenticator::new(issuers, US.to_owned(), hands.clock()).unwrap();
        Self { authenticator, hands }
    }

    /// A fresh token of this issuer.
    fn token(&self, issuer: &Issuer) -> String {
        issuer.token(issuer.claims(self.hands.now(), US, "workload"))
    }

    /// A good claim set signed under a `kid` that nobody published.
    fn token_of_kid(&self, issuer: &Issuer, kid: &str) -> String {
        Signer::es256(kid).token(&issuer.claims(self.hands.now(), US, "workload"))
    }

    async fn oidc(&self, token: &str) -> Result<Arc<VerifiedIdentity>, Reason> {
        self.authenticator.oidc(token).await.map_err(|error| error.reason)
    }

    async fn try_fresh(&self, issuer: &Issuer) -> Result<(), Reason> {
        self.oidc(&self.token(issuer)).await.map(|_| ())
    }

    fn last_error(&self) -> Option<String> {
        self.authenticator.status()[0].error.clone()
    }
}

/// Background work has no answer to wait for: this waits for what it causes.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(5), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys_and_the_token_to_an_identity() {
    let signers = vec![Signer::es256("a"), Signer::ed25519("b"), Signer::rs256("c")];
    let mut issuer = Issuer::with_signers(signers).await;
    let bench = Bench::of(&issuer);
    let claims =
        json!({"sub": "repo:acme", "aud": [US], "iat": START, "exp": START + 300, "n": 1, "ref": "main"});
    let identity = bench.oidc(&issuer.token(claims.clone())).await.unwrap();
    assert_eq!(identity.workload().to_string(), "ci|repo:acme");
    assert_eq!(identity.claims.get("ref").map(String::as_str), Some("main"));
    assert_eq!(identity.claims.get("n"), None);
    assert_eq!(identity.expires, Timestamp::from_seconds(START + 300));

    let with_iss = issuer.claims(START, US, "x");
    for signer in [Signer::ed25519("b"), Signer::rs256("c")] {
        let good = signer.kid == "c";
        let verdict = bench.oidc(&signer.token(&with_iss)).await.map(|_| ());
        assert_eq!(verdict, if good { Ok(()) } else { Err(Reason::SignatureInvalid) });
    }
    let status = &bench.authenticator.status()[0];
    assert_eq!(
        (status.keys, status.fetched, &status.error),
        (3, Some(Timestamp::from_seconds(START)), &None)
    );
    assert_eq!((issuer.requests(), issuer.fetches()), (2, 1));
    issuer.stop().await;
}

#[tokio::test]
async fn a_jwks_url_needs_no_discovery() {
    let issuer = Issuer::start().await;
    let keys = KeySource::Url(issuer.jwks_url().parse().unwrap());
    let bench = Bench::with(vec![settings("ci", issuer.url(), keys)]);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert_eq!((issuer.requests(), issuer.fetches()), (1, 1));
}

#[tokio::test]
async fn an_issuer_that_misbehaves_gives_no_keys() {
    let target = Issuer::start().await;
    for (mood, problem) in [
        (Mood::Redirects(target.jwks_url()), "status 302"),
        (Mood::Broken, "status 500"),
        (Mood::Huge(600 * 1024), "512 KiB"),
        (Mood::Impostor("https://other.test".to_owned()), "another issuer"),
        (Mood::KeysElsewhere("http://169.254.169.254/latest".to_owned()), "jwks_uri"),
        (Mood::KeysElsewhere("file:///etc/passwd".to_owned()), "jwks_uri"),
    ] {
        let issuer = Issuer::start().await;
        issuer.behave(mood.clone());
        let bench = Bench::of(&issuer);
        assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable), "{mood:?}");
        let error = bench.last_error().unwrap();
        assert!(error.contains(problem), "{mood:?}: {error}");
        issuer.behave(Mood::Honest);
        bench.hands.forward(5);
        assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "{mood:?}");
        assert_eq!(bench.last_error(), None);
    }
    assert_eq!(target.requests(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_set_of_exactly_the_permitted_size_is_read() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Huge(510 * 1024));
    assert_eq!(Bench::of(&issuer).try_fresh(&issuer).await, Ok(()));
}

#[tokio::test]
async fn a_slow_issuer_costs_seconds_not_minutes() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Slow(Duration::from_secs(60)));
    let bench = Bench::of(&issuer);
    let start = Instant::now();
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    // Known to be slow: the next caller is told at once.
    let start = Instant::now();
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_starts_at_once_causes_one_fetch() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Slow(Duration::from_millis(100)));
    let bench = Arc::new(Bench::of(&issuer));
    let fleet: Vec<_> = (0..50)
        .map(|n| {
            let (bench, token) =
                (Arc::clone(&bench), issuer.token(issuer.claims(START, US, &format!("w{n}"))));
            tokio::spawn(async move { bench.oidc(&token).await.map(|identity| identity.subject.clone()) })
        })
        .collect();
    for (n, member) in fleet.into_iter().enumerate() {
        assert_eq!(member.await.unwrap(), Ok(format!("w{n}")));
    }
    assert_eq!((issuer.requests(), issuer.fetches()), (2, 1));
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_end_the_fetch_of_the_others() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Slow(Duration::from_millis(200)));
    let bench = Bench::of(&issuer);
    let token = bench.token(&issuer);
    let gone = tokio::time::timeout(Duration::from_millis(50), bench.oidc(&token)).await;
    assert!(gone.is_err());
    assert!(bench.oidc(&token).await.is_ok());
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_kids_refreshes_once_a_minute() {
    let issuer = Issuer::start().await;
    let bench = Arc::new(Bench::of(&issuer));
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    for minute in 1..=3 {
        let flood: Vec<_> = (0..40)
            .map(|n| {
                let (bench, token) =
                    (Arc::clone(&bench), bench.token_of_kid(&issuer, &format!("r{minute}-{n}")));
                tokio::spawn(async move { bench.oidc(&token).await.map(|_| ()) })
            })
            .collect();
        for one in flood {
            assert_eq!(one.await.unwrap(), Err(Reason::KeyUnknown));
        }
        assert_eq!(issuer.fetches(), 1 + minute);
        bench.hands.forward(59);
        let again = bench.token_of_kid(&issuer, "again");
        assert_eq!(bench.oidc(&again).await.map(|_| ()), Err(Reason::KeyUnknown));
        assert_eq!(issuer.fetches(), 1 + minute);
        bench.hands.forward(1);
    }
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "the flood must not lock out the honest");
}

#[tokio::test]
async fn a_rotation_is_followed_and_the_removed_key_is_dead() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = bench.token(&issuer);
    assert!(bench.oidc(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-2")]);
    assert!(bench.oidc(&old).await.is_ok(), "nobody has told the broker yet");
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "the new kid is fetched at once");
    assert_eq!(bench.oidc(&old).await.unwrap_err(), Reason::KeyUnknown, "not even from the cache of proofs");
}

#[tokio::test]
async fn a_new_key_under_the_old_kid_replaces_it() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 3500}));
    assert!(bench.oidc(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-1")]);
    bench.hands.forward(15 * 60);
    assert_eq!(bench.oidc(&old).await.unwrap_err(), Reason::SignatureInvalid);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
}

#[tokio::test]
async fn keys_are_renewed_in_the_background_while_they_serve() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 3500}));
    assert!(bench.oidc(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-2")]);
    bench.hands.forward(10 * 60);
    assert!(bench.oidc(&old).await.is_ok(), "served by the keys at hand");
    let renewed = Some(Timestamp::from_seconds(START + 600));
    eventually("a renewal", || bench.authenticator.status()[0].fetched == renewed).await;
    assert_eq!(bench.oidc(&old).await.unwrap_err(), Reason::KeyUnknown);
}

#[tokio::test]
async fn an_issuer_that_withdraws_every_key_is_obeyed() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = bench.token(&issuer);
    assert!(bench.oidc(&old).await.is_ok());
    issuer.rotate(Vec::new());
    bench.hands.forward(15 * 60);
    assert_eq!(bench.oidc(&old).await.unwrap_err(), Reason::IssuerUnavailable);
}

#[tokio::test]
async fn stale_keys_serve_while_the_issuer_is_down_and_then_no_more() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    issuer.stop().await;
    // Fresh for 15 minutes, then stale for the hour that the settings give.
    for minutes in [14, 2, 30, 28] {
        bench.hands.forward(minutes * 60);
        assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    }
    assert!(bench.last_error().is_some());
    // A kid it lacks may be a new one: that cannot be known while the issuer is silent.
    let unknown = bench.token_of_kid(&issuer, "new");
    assert_eq!(bench.oidc(&unknown).await.unwrap_err(), Reason::IssuerUnavailable);
    bench.hands.forward(60);
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    issuer.restart().await;
    bench.hands.forward(5);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "back without a restart of the broker");
}

#[tokio::test]
async fn a_cached_proof_dies_with_the_issuers_stale_keys() {
    let mut issuer = Issuer::start().await;
    let mut settings = settings("ci", issuer.url(), KeySource::Discovery);
    settings.max_age = None;
    let bench = Bench::with(vec![settings]);
    let token = issuer.token(json!({"sub": "s", "aud": US, "exp": START + 90_000}));
    assert!(bench.oidc(&token).await.is_ok());
    issuer.stop().await;
    bench.hands.forward(74 * 60);
    assert!(bench.oidc(&token).await.is_ok());
    bench.hands.forward(60);
    assert_eq!(bench.oidc(&token).await.unwrap_err(), Reason::IssuerUnavailable);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_asked_every_five_seconds() {
    let mut issuer = Issuer::start().await;
    issuer.behave(Mood::Broken);
    let bench = Bench::of(&issuer);
    for second in 0..15 {
        assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
        assert_eq!(issuer.requests(), 1 + second / 5);
        bench.hands.forward(1);
    }
    issuer.stop().await;
}

#[tokio::test]
async fn an_unconfigured_issuer_is_never_contacted() {
    let (ours, theirs) = (Issuer::start().await, Issuer::start().await);
    let bench = Bench::of(&ours);
    assert_eq!(bench.try_fresh(&theirs).await, Err(Reason::IssuerUnknown));
    assert_eq!((ours.requests(), theirs.requests()), (0, 0));
    for header in [
        json!({"alg": "ES256", "kid": "k", "jku": theirs.jwks_url()}),
        json!({"alg": "ES256", "kid": "k", "x5u": theirs.jwks_url()}),
        json!({"alg": "ES256", "kid": theirs.jwks_url()}),
    ] {
        let claims = ours.claims(START, US, "s");
        let token = Signer::es256("k").compact("ES256", header.to_string(), claims.to_string());
        assert!(bench.oidc(&token).await.is_err());
    }
    assert_eq!(theirs.requests(), 0);
}

#[tokio::test]
async fn one_issuers_keys_say_nothing_about_another() {
    // The same kid at both, and the same subject.
    let (a, b) = (Issuer::start().await, Issuer::start().await);
    let both =
        vec![settings("a", a.url(), KeySource::Discovery), settings("b", b.url(), KeySource::Discovery)];
    let bench = Bench::with(both);
    let claims_of_b = b.claims(START, US, "workload");
    assert_eq!(bench.oidc(&a.token(claims_of_b.clone())).await.unwrap_err(), Reason::SignatureInvalid);
    assert_eq!(bench.oidc(&b.token(claims_of_b)).await.unwrap().workload().to_string(), "b|workload");
    assert_eq!(bench.oidc(&bench.token(&a)).await.unwrap().workload().to_string(), "a|workload");
}

#[tokio::test]
async fn a_cached_proof_is_judged_anew_at_every_use() {
    let issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let short = bench.token(&issuer);
    let aged = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 90_000}));
    for token in [&short, &aged] {
        let first = bench.oidc(token).await.unwrap();
        let second = bench.oidc(token).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "the second came from the cache");
    }
    bench.hands.forward(330);
    assert_eq!(bench.oidc(&short).await.unwrap_err(), Reason::Expired);
    assert!(bench.oidc(&aged).await.is_ok());
    bench.hands.forward(3600);
    assert_eq!(bench.oidc(&aged).await.unwrap_err(), Reason::TooOld);
    bench.hands.forward(-4000);
    assert_eq!(bench.oidc(&short).await.unwrap_err(), Reason::NotYetValid);
}

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
    let bench = Bench::with(vec![settings("ci", "https://ci.test", KeySource::File(path.clone()))]);
    let (by_old, by_new) = (old.token(&file_claims(START)), new.token(&file_claims(START)));
    assert!(bench.oidc(&by_old).await.is_ok());
    write_set(&path, &new);
    bench.hands.forward(2);
    assert_eq!(bench.oidc(&by_old).await.unwrap_err(), Reason::SignatureInvalid);
    assert!(bench.oidc(&by_new).await.is_ok());
    // A file that is gone, or half written, leaves the last good set.
    std::fs::write(&path, "{\"keys\":").unwrap();
    bench.hands.forward(2);
    assert!(bench.oidc(&by_new).await.is_ok());
    eventually("the fault shows", || bench.last_error().is_some_and(|e| e.contains("JWK set"))).await;
    std::fs::remove_file(&path).unwrap();
    bench.hands.forward(2);
    assert!(bench.oidc(&by_new).await.is_ok());
    eventually("the fault shows", || bench.last_error().is_some_and(|e| e.contains("No such file"))).await;
}

#[test]
fn a_mistake_in_the_settings_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.json");
    let start = |issuers| {
        Authenticator::new(issuers, US.to_owned(), Hands::new().clock()).map(|_| ()).unwrap_err().to_string()
    };
    let file = |path: &Path| vec![settings("ci", "https://ci.test", KeySource::File(path.to_owned()))];

    let error = start(file(&bad));
    assert!(error.contains("issuer ci") && error.contains("bad.json"), "{error}");
    std::fs::write(&bad, "{}").unwrap();
    assert!(start(file(&bad)).contains("not a JWK set"));
    std::fs::write(&bad, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
    assert!(start(file(&bad)).contains("no usable key"));

    let error = start(vec![settings("ci", "http://ci.test", KeySource::Discovery)]);
    assert!(error.contains("https"), "{error}");
    let keys = KeySource::Url("http://10.0.0.1/jwks".parse().unwrap());
    assert!(start(vec![settings("ci", "https://ci.test", keys)]).contains("https"));

    let good = folder.path().join("good.json");
    write_set(&good, &Signer::es256("k"));
    let twice =
        vec![file(&good).remove(0), IssuerSettings { name: "b".parse().unwrap(), ..file(&good).remove(0) }];
    assert!(start(twice).contains("same url"));
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_named() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let start = || {
        let mut settings = settings("ci", "https://ci.test", KeySource::Discovery);
        settings.ca_file = Some(path.clone());
        Authenticator::new(vec![settings], US.to_owned(), Hands::new().clock()).map(|_| ())
    };
    assert!(matches!(start(), Err(AuthenticatorError::Unreadable { .. })));
    std::fs::write(&path, "not a certificate").unwrap();
    assert!(matches!(start(), Err(AuthenticatorError::BadCertificates { .. })));
    let key = rcgen::generate_simple_self_signed(vec!["ci.test".to_owned()]).unwrap();
    std::fs::write(&path, key.cert.pem()).unwrap();
    assert!(start().is_ok());
}
