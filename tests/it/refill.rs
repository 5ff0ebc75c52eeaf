//! A Redis that was emptied while many stops were in force: it is refilled once, and tokens are issued meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::event::{Event, Kind, Outcome};
use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{Stop, Target};
use hallpass::store::Adoption;

use crate::support::broker::{Hands, TestApp};

const STOPS: &str = "hallpass:{revocation}:stops";
const MANY: u32 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuance_goes_on_while_an_emptied_redis_is_refilled() {
    let app = Arc::new(TestApp::first_of_several(Hands::default()).await);
    let filling = Instant::now();
    fill_store(&app).await;
    println!("{MANY} stops recorded in {:?}", filling.elapsed());
    let redis = app.redis.as_ref().unwrap();
    let held = || redis.command::<u32>(&["HLEN", STOPS]);
    wait("the stops in Redis", || held() >= MANY).await;
    let proof = app.proof();
    app.exchange(&proof, &[]).await.token();

    let usual = rate(&app, &proof, Duration::from_secs(2)).await;
    let scripts_before = scripts(redis);
    redis.command::<()>(&["FLUSHALL"]);
    let emptied = Instant::now();
    let filled = {
        let app = Arc::clone(&app);
        tokio::task::spawn_blocking(move || {
            let redis = app.redis.as_ref().unwrap();
            while redis.command::<u32>(&["HLEN", STOPS]) < MANY {
                std::thread::sleep(Duration::from_millis(5));
            }
            emptied.elapsed()
        })
    };
    let meanwhile = rate_until(&app, &proof, || filled.is_finished()).await;
    let took = filled.await.unwrap();
    let scripts = scripts(redis) - scripts_before;
    println!(
        "refill of {MANY} stops: {took:?}, {scripts} scripts; tokens/s: {usual:.0} before, {meanwhile:.0} meanwhile"
    );
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(meanwhile > usual / 10.0, "{meanwhile:.0} of {usual:.0} tokens a second");
    // Each part was pushed once, not anew for each request.
    assert!(scripts < MANY / 500 * 2, "{scripts} scripts");
}

/// As a store takes over the stops that it lost: many at once.
async fn fill_store(app: &TestApp) {
    let (store, now) = (app.shared_store(), app.hands.now());
    let event = || Event::new(now, Kind::RevocationStopped, Outcome::Done);
    let stops = (0..MANY).map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        let random = [9, 9, 9, 9, 9, 9, a, b, c, d];
        let stop = Stop {
            id: StopId::new(now, &random),
            target: Target::Token(TokenId::new(now, &random)),
            at: now,
            reason: "a test".to_owned(),
            operator: None,
            revision: None,
            lift: None,
        };
        (stop, event())
    });
    let (event, above) = (Event::new(now, Kind::StoreRestored, Outcome::Done), store.seen().revision());
    store.adopt(Adoption { event, above, stops: stops.collect(), restated: Vec::new() }).await.unwrap();
}

async fn rate(app: &Arc<TestApp>, proof: &str, time: Duration) -> f64 {
    let began = Instant::now();
    rate_until(app, proof, || began.elapsed() >= time).await
}

/// Tokens a second, with 16 requests at a time.
async fn rate_until(app: &Arc<TestApp>, proof: &str, is_over: impl Fn() -> bool) -> f64 {
    let (over, issued) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (app, proof) = (Arc::clone(app), proof.to_owned());
            let (over, issued) = (Arc::clone(&over), Arc::clone(&issued));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    app.exchange(&proof, &[]).await.token();
                    issued.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while !is_over() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (time, count) = (began.elapsed(), issued.load(Ordering::Relaxed));
    over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    count as f64 / time.as_secs_f64()
}

fn scripts(redis: &crate::support::redis::RedisServer) -> u32 {
    let stats = redis.info("commandstats");
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

async fn wait(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
