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
