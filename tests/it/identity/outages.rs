//! Fleets and floods; issuers that rotate keys, fall silent and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::domain::reason::Reason;
use hallpass::domain::time::Timestamp;
use hallpass::identity::settings::KeySource;
use serde_json::json;

use super::{Bench, START, US, eventually, issuer_settings};
use crate::support::issuer::{Issuer, Mood};
use crate::support::signer::Signer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_starts_at_once_causes_one_fetch() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Slow(Duration::from_millis(100)));
    let bench = Arc::new(Bench::of(&issuer));
    let fleet: Vec<_> = (0..50)
        .map(|n| {
            let (bench, token) =
                (Arc::clone(&bench), issuer.token(issuer.claims(START, US, &format!("w{n}"))));
            tokio::spawn(async move { bench.jwt(&token).await.map(|identity| identity.subject.clone()) })
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
    let gone = tokio::time::timeout(Duration::from_millis(50), bench.jwt(&token)).await;
    assert!(gone.is_err());
    assert!(bench.jwt(&token).await.is_ok());
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
                tokio::spawn(async move { bench.jwt(&token).await.map(|_| ()) })
            })
            .collect();
        for one in flood {
            assert_eq!(one.await.unwrap(), Err(Reason::KeyUnknown));
        }
        assert_eq!(issuer.fetches(), 1 + minute);
        bench.hands.forward(59);
        let again = bench.token_of_kid(&issuer, "again");
        assert_eq!(bench.jwt(&again).await.map(|_| ()), Err(Reason::KeyUnknown));
        assert_eq!(issuer.fetches(), 1 + minute);
        bench.hands.forward(1);
    }
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "the flood must not lock out the honest");
}

/// Each used to wait as long as a fetch may take, and again for each fetch that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_hangs_keeps_a_bounded_number_of_callers_waiting() {
    const WAIT: usize = 64;
    let issuer = Issuer::start().await;
    let bench = Arc::new(Bench::of(&issuer));
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    issuer.behave(Mood::Slow(Duration::from_secs(60)));
    let flood = || async {
        let callers: Vec<_> = (0..300)
            .map(|n| {
                let (bench, token) = (Arc::clone(&bench), bench.token_of_kid(&issuer, &format!("r{n}")));
                tokio::spawn(async move {
                    let begun = Instant::now();
                    assert_eq!(bench.jwt(&token).await.unwrap_err(), Reason::IssuerUnavailable);
                    begun.elapsed() > Duration::from_secs(1)
                })
            })
            .collect();
        let mut waited = 0;
        for caller in callers {
            waited += usize::from(caller.await.unwrap());
        }
        waited
    };
    assert_eq!(flood().await, WAIT);
    assert!(bench.last_error().is_some_and(|error| error.contains("5 s")), "{:?}", bench.last_error());
    // It is asked again, and nobody waits for the answer.
    bench.hands.forward(60);
    assert_eq!(flood().await, 0);
    eventually("it is asked again", || issuer.requests() == 4).await;
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "whose key is at hand");
}

#[tokio::test]
async fn a_rotation_is_followed_and_the_removed_key_is_dead() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = bench.token(&issuer);
    assert!(bench.jwt(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-2")]);
    assert!(bench.jwt(&old).await.is_ok(), "nobody has told the broker yet");
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "the new kid is fetched at once");
    assert_eq!(bench.jwt(&old).await.unwrap_err(), Reason::KeyUnknown, "not even from the cache of proofs");
}

#[tokio::test]
async fn a_new_key_under_the_old_kid_replaces_it() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 3500}));
    assert!(bench.jwt(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-1")]);
    bench.hands.forward(15 * 60);
    assert_eq!(bench.jwt(&old).await.unwrap_err(), Reason::SignatureInvalid);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
}

#[tokio::test]
async fn keys_are_renewed_in_the_background_while_they_serve() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 3500}));
    assert!(bench.jwt(&old).await.is_ok());
    issuer.rotate(vec![Signer::es256("es256-2")]);
    bench.hands.forward(10 * 60);
    assert!(bench.jwt(&old).await.is_ok(), "served by the keys at hand");
    let renewed = Some(Timestamp::from_seconds(START + 600));
    eventually("a renewal", || bench.authenticator.status()[0].fetched == renewed).await;
    assert_eq!(bench.jwt(&old).await.unwrap_err(), Reason::KeyUnknown);
}

#[tokio::test]
async fn a_renewal_that_brings_nothing_new_costs_no_second_verification() {
    let issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let token = issuer.token(json!({"sub": "s", "aud": US, "iat": START, "exp": START + 3500}));
    let first = bench.jwt(&token).await.unwrap();
    bench.hands.forward(15 * 60);
    let second = bench.jwt(&token).await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    assert!(Arc::ptr_eq(&first, &second), "the same set verifies no proof twice");
}

#[tokio::test]
async fn stale_keys_wait_shortly_for_an_issuer_that_hangs_and_then_not_at_all() {
    let issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    issuer.behave(Mood::Slow(Duration::from_secs(60)));
    bench.hands.forward(15 * 60);
    let start = Instant::now();
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    eventually("it is known", || bench.last_error().is_some_and(|error| error.contains("5 s"))).await;
    bench.hands.forward(5);
    let start = Instant::now();
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    eventually("it is asked again meanwhile", || issuer.requests() == 4).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_key_alive() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    bench.hands.forward(-86_400);
    let old = bench.token(&issuer);
    issuer.rotate(vec![Signer::es256("es256-2")]);
    assert_eq!(bench.jwt(&old).await.unwrap_err(), Reason::KeyUnknown);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
}

#[tokio::test]
async fn an_issuer_that_withdraws_every_key_is_obeyed() {
    let mut issuer = Issuer::start().await;
    let bench = Bench::of(&issuer);
    let old = bench.token(&issuer);
    assert!(bench.jwt(&old).await.is_ok());
    issuer.rotate(Vec::new());
    bench.hands.forward(15 * 60);
    assert_eq!(bench.jwt(&old).await.unwrap_err(), Reason::IssuerUnavailable);
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
    let error = bench.last_error().unwrap();
    assert!(error.contains("Connection refused") && !error.contains("127.0.0.1:"), "{error}");
    // A kid it lacks may be a new one: that cannot be known while the issuer is silent.
    let unknown = bench.token_of_kid(&issuer, "new");
    assert_eq!(bench.jwt(&unknown).await.unwrap_err(), Reason::IssuerUnavailable);
    bench.hands.forward(60);
    assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
    issuer.restart().await;
    bench.hands.forward(5);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()), "back without a restart of the broker");
}

#[tokio::test]
async fn a_cached_proof_dies_with_the_issuers_stale_keys() {
    let mut issuer = Issuer::start().await;
    let mut settings = issuer_settings("ci", issuer.url(), KeySource::Discovery);
    settings.max_age = None;
    let bench = Bench::with(vec![settings]);
    let token = issuer.token(json!({"sub": "s", "aud": US, "exp": START + 90_000}));
    assert!(bench.jwt(&token).await.is_ok());
    issuer.stop().await;
    bench.hands.forward(74 * 60);
    assert!(bench.jwt(&token).await.is_ok());
    bench.hands.forward(60);
    assert_eq!(bench.jwt(&token).await.unwrap_err(), Reason::IssuerUnavailable);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_asked_every_five_seconds() {
    let mut issuer = Issuer::start().await;
    issuer.behave(Mood::Broken);
    let bench = Bench::of(&issuer);
    for second in 0..15 {
        assert_eq!(bench.try_fresh(&issuer).await, Err(Reason::IssuerUnavailable));
        // Each time once more after the first fault.
        assert_eq!(issuer.requests(), 2 * (1 + second / 5));
        bench.hands.forward(1);
    }
    issuer.stop().await;
}

#[tokio::test]
async fn one_fault_of_an_issuer_is_asked_over_again() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::BrokenOnce);
    let bench = Bench::of(&issuer);
    assert_eq!(bench.try_fresh(&issuer).await, Ok(()));
    assert_eq!((issuer.requests(), issuer.fetches()), (3, 1));
    assert_eq!(bench.last_error(), None);
}

/// Whether or not a proof comes: a dead issuer is known, and so is one that is back.
#[tokio::test]
async fn an_issuer_is_asked_beside_the_calls() {
    let issuer = Issuer::start().await;
    issuer.behave(Mood::Broken);
    let bench = Bench::of(&issuer);
    bench.authenticator.probe();
    eventually("it is known to be down", || bench.last_error().is_some()).await;
    let asked = issuer.requests();
    // Not at every look.
    for _ in 0..4 {
        bench.authenticator.probe();
        bench.hands.forward(1);
    }
    assert_eq!(issuer.requests(), asked);
    issuer.behave(Mood::Honest);
    bench.hands.forward(60);
    bench.authenticator.probe();
    eventually("it is known to be back", || bench.last_error().is_none()).await;
    assert_eq!(bench.authenticator.status()[0].keys, 1);
    let asked = issuer.requests();
    bench.hands.forward(9 * 60);
    bench.authenticator.probe();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(issuer.requests(), asked, "what is fresh is not fetched");
    bench.hands.forward(60);
    bench.authenticator.probe();
    eventually("what is old is fetched", || issuer.requests() > asked).await;
}
