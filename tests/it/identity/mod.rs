//! Issuers as they are: keys rotate, servers hang, answer nonsense, go away and come back.

mod assertions;
mod bearer;
mod https;
mod outages;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::identity::VerifiedIdentity;
use hallpass::domain::platform::Platform;
use hallpass::domain::reason::Reason;
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::identity::Authenticator;
use hallpass::identity::settings::{IssuerSettings, KeySource, OurNames, ProofAlgorithm};
use serde_json::json;

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

fn issuer_settings(name: &str, url: &str, keys: KeySource) -> IssuerSettings {
    IssuerSettings {
        name: name.parse().unwrap(),
        kind: Platform::Oidc,
        url: url.to_owned(),
        audience: US.to_owned(),
        algorithms: vec![ProofAlgorithm::Es256, ProofAlgorithm::Rs256, ProofAlgorithm::EdDsa],
        max_age: Some(Duration::from_secs(3600)),
        leeway: Duration::from_secs(30),
        keys,
        ca_file: None,
        jwks_bearer_file: None,
        stale_keys: Duration::from_secs(3600),
    }
}

/// What this broker is called.
fn us() -> OurNames {
    let token_endpoint = format!("{US}/oauth/token");
    OurNames { issuer: US.parse().unwrap(), token_endpoint, issuer_alone: false }
}

/// A broker's side: an authenticator that trusts `issuer` by discovery.
struct Bench {
    authenticator: Authenticator,
    hands: Hands,
}

impl Bench {
    fn of(issuer: &Issuer) -> Self {
        Self::with(vec![issuer_settings("ci", issuer.url(), KeySource::Discovery)])
    }

    fn with(issuers: Vec<IssuerSettings>) -> Self {
        let hands = Hands::new();
        let authenticator = Authenticator::new(issuers, &[], us(), hands.clock()).unwrap();
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

    async fn jwt(&self, token: &str) -> Result<Arc<VerifiedIdentity>, Reason> {
        self.authenticator.jwt(token).await.map_err(|error| error.reason)
    }

    async fn try_fresh(&self, issuer: &Issuer) -> Result<(), Reason> {
        self.jwt(&self.token(issuer)).await.map(|_| ())
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
    let identity = bench.jwt(&issuer.token(claims.clone())).await.unwrap();
    assert_eq!(identity.workload().to_string(), "ci|repo:acme");
    assert_eq!(identity.claims.get("ref").map(String::as_str), Some("main"));
    assert_eq!(identity.claims.get("n"), None);
    assert_eq!(identity.expires, Timestamp::from_seconds(START + 300));

    let with_iss = issuer.claims(START, US, "x");
    for signer in [Signer::ed25519("b"), Signer::rs256("c")] {
        let good = signer.kid == "c";
        let verdict = bench.jwt(&signer.token(&with_iss)).await.map(|_| ());
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
    let bench = Bench::with(vec![issuer_settings("ci", issuer.url(), keys)]);
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
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // Known to be slow: the next caller is told at once.
    let start = Instant::now();
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
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
        assert!(bench.jwt(&token).await.is_err());
    }
    assert_eq!(theirs.requests(), 0);
}

#[tokio::test]
async fn one_issuers_keys_say_nothing_about_another() {
    // The same kid at both, and the same subject.
    let (a, b) = (Issuer::start().await, Issuer::start().await);
    let both = vec![
        issuer_settings("a", a.url(), KeySource::Discovery),
        issuer_settings("b", b.url(), KeySource::Discovery),
    ];
    let bench = Bench::with(both);
    let claims_of_b = b.claims(START, US, "workload");
    assert_eq!(bench.jwt(&a.token(claims_of_b.clone())).await.unwrap_err(), Reason::SignatureInvalid);
    assert_eq!(bench.jwt(&b.token(claims_of_b)).await.unwrap().workload().to_string(), "b|workload");
    assert_eq!(bench.jwt(&bench.token(&a)).await.unwrap().workload().to_string(), "a|workload");
}

#[tokio::test]
async fn a_cached_proof_is_judged_anew_at_every_use() {
    let issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let short = bench.token(&issuer);
    let aged = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 90_000}));
    for token in [&short, &aged] {
        let first = bench.jwt(token).await.unwrap();
        let second = bench.jwt(token).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "the second came from the cache");
    }
    bench.hands.forward(330);
    assert_eq!(bench.jwt(&short).await.unwrap_err(), Reason::Expired);
    assert!(bench.jwt(&aged).await.is_ok());
    bench.hands.forward(3600);
    assert_eq!(bench.jwt(&aged).await.unwrap_err(), Reason::TooOld);
    bench.hands.forward(-4000);
    assert_eq!(bench.jwt(&short).await.unwrap_err(), Reason::NotYetValid);
}
