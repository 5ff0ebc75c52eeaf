//! Not laws but figures: run with `cargo test --release --lib pace -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; takes a minute"]
async fn pace() {
    let place = Place::new();
    let store = place.open().await;
    let (tasks, each) = (64u64, 3_200u64);
    let start = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for n in 0..each {
                    let start = Instant::now();
                    issue(&store, task * each + n, 0).await;
                    times.push(start.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.unwrap());
    }
    let (took, count) = (start.elapsed(), tasks * each);
    times.sort();
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    println!("{count} issuances from {tasks} tasks: {:.0}/s", count as f64 / took.as_secs_f64());
    println!("p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), times[times.len() - 1]);
    let start = Instant::now();
    for n in 0..200 {
        issue(&store, count + n, 0).await;
    }
    println!("alone: {:?} each", start.elapsed() / 200);
    store.close().await;
    println!("file: {} bytes an event", std::fs::metadata(place.path()).unwrap().len() / count);
    let start = Instant::now();
    let store = place.open().await;
    println!("open: {:?}", start.elapsed());
    let start = Instant::now();
    store.inclusion_proof(77, count).await.unwrap();
    println!("inclusion proof: {:?}", start.elapsed());
    let filter = EventFilter { agent: Some(agent(1)), until: Some(at_zero()), ..EventFilter::default() };
    let start = Instant::now();
    store.events(&filter, 100, None).await.unwrap();
    println!("search: {:?}", start.elapsed());
    let start = Instant::now();
    let verified = place.verify().unwrap();
    println!("verify: {:.0} events/s", verified.size as f64 / start.elapsed().as_secs_f64());
}

fn at_zero() -> Timestamp {
    at(0)
}

/// What `issue` of many at once, and one stop with its lift, take.
async fn rates(store: &Store, from: u64) -> (f64, std::time::Duration) {
    let count = 40_000;
    let start = Instant::now();
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..count / 64 {
                    issue(&store, from + task * count + n, 0).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for n in 0..100 {
        let stop = stop_of(from + n, Target::Agent("a-bystander".parse().unwrap()), 0);
        let stop = store.stop(stop, stopped(0)).await.unwrap();
        store.lift(stop.id, lift_at(1), lifted()).await.unwrap();
    }
    (rate, start.elapsed() / 200)
}

/// What ended and what is stopped costs nobody else anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; takes some minutes"]
async fn what_is_known_costs_nothing() {
    let (empty, full) = (Place::new(), Place::new());
    let (little, much) = (empty.open().await, full.open().await);
    let start = Instant::now();
    for part in 0..600 {
        let ends = (0..1_000).map(|n| much.end(token(10_000_000 + part * 1_000 + n), stopped(0)));
        futures_util::future::join_all(ends).await.into_iter().for_each(|ended| assert!(ended.is_ok()));
    }
    for part in 0..100 {
        let stops = (0..1_000u64).map(|n| {
            let n = part * 1_000 + n;
            let target = Target::Agent(format!("stopped-{n}").parse().unwrap());
            much.stop(stop_of(20_000_000 + n, target, 0), stopped(0))
        });
        futures_util::future::join_all(stops).await.into_iter().for_each(|stop| drop(stop.unwrap()));
    }
    println!("600,000 ends and 100,000 stops: {:?}", start.elapsed());
    for round in 0..5u64 {
        let ((few, stop_few), (many, stop_many)) =
            (rates(&little, round * 10_000_000).await, rates(&much, 50_000_000 + round * 10_000_000).await);
        println!(
            "with none {few:.0}/s and {stop_few:?} a change; with all {many:.0}/s and {stop_many:?}: {:.1} %",
            many / few * 100.0
        );
    }
    much.close().await;
    let start = Instant::now();
    drop(full.open().await);
    println!("start with all of them: {:?}", start.elapsed());
}
