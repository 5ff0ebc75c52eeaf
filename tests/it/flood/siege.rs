//! Everything at once against one broker, for `scripts/siege`: meanwhile a stop each second returns within a second
//! and is obeyed.

pub(crate) mod defence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use super::attackers::{
    address, ask_on, heads_of_http2, most_memory, most_of_a_body, send_and_stay, sockets,
};
use super::{MOST, fleet};
use crate::support::process::exchange;
use defence::{AUDITOR, Defence};

/// The attacks, until they are told to stop.
struct Siege {
    over: Arc<AtomicBool>,
    /// What each attack did, by name.
    done: Vec<(&'static str, Arc<AtomicU64>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Siege {
    fn attack<F: Future<Output = u64> + Send + 'static>(
        &mut self,
        name: &'static str,
        at_once: usize,
        attack: impl Fn() -> F + Send + Sync + 'static,
    ) {
        let (attack, done) = (Arc::new(attack), Arc::new(AtomicU64::new(0)));
        self.done.push((name, Arc::clone(&done)));
        for _ in 0..at_once {
            let (over, done, attack) = (Arc::clone(&self.over), Arc::clone(&done), Arc::clone(&attack));
            self.tasks.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    done.fetch_add(attack().await, Ordering::Relaxed);
                }
            }));
        }
    }

    fn begin(defence: &Defence) -> Self {
        let mut siege = Self { over: Arc::default(), done: Vec::new(), tasks: Vec::new() };
        let public = address(&defence.broker.public).to_owned();
        let idle = (sockets() / 4).min(3000);
        let to = public.clone();
        siege.attack("idle connections", 1, move || {
            hold(to.clone(), idle, Vec::new(), Duration::from_secs(5))
        });
        let to = public.clone();
        siege.attack("heads of HTTP/2", 2, move || {
            hold(to.clone(), 100, heads_of_http2(200, 0), Duration::from_millis(500))
        });
        let to = public.clone();
        siege.attack("repeated headers of HTTP/2", 1, move || {
            hold(to.clone(), 50, heads_of_http2(16, 900), Duration::from_millis(500))
        });
        siege.attack("slow bodies", 1, move || slow_bodies(public.clone(), 300));
        let heavy = defence.heavy_request();
        siege.attack("heavy authorization_details", 4, move || send(heavy()));
        let refused = defence.refused_request();
        siege.attack("refused assertions", 4, move || send(refused.try_clone().unwrap()));
        // More than the listener for operators has seats, 300 of them with a key.
        let to = address(&defence.broker.admin).to_owned();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n");
        let keyed = |path: &str| format!("{}authorization: Bearer {AUDITOR}\r\n\r\n", get(path)).into_bytes();
        let lists = vec![keyed("/v1/agents"), keyed("/v1/revocations")];
        siege.attack("GET /v1/agents and /v1/revocations", 1, {
            let to = to.clone();
            move || ask_for(to.clone(), 300, lists.clone())
        });
        let keyless = ["/metrics", "/nope"].map(|path| format!("{}\r\n", get(path)).into_bytes()).to_vec();
        siege.attack("GET /metrics and /nope", 1, move || ask_for(to.clone(), 100, keyless.clone()));
        siege
    }

    /// Ends the attacks; what they did.
    async fn end(self) -> Vec<(&'static str, u64)> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            // Whoever waits for an answer is not waited for.
            task.abort();
        }
        self.done.iter().map(|(name, done)| (*name, done.load(Ordering::Relaxed))).collect()
    }
}

async fn hold(to: String, count: usize, bytes: Vec<u8>, time: Duration) -> u64 {
    let held = send_and_stay(&to, count, &bytes).await;
    tokio::time::sleep(time).await;
    held.len() as u64
}

/// So many callers ask for these, on and on.
async fn ask_for(to: String, callers: usize, requests: Vec<Vec<u8>>) -> u64 {
    let answers = Arc::default();
    let asking = ask_on(&to, callers, &requests, &answers);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(asking);
    answers.load(Ordering::Relaxed)
}

async fn slow_bodies(to: String, count: usize) -> u64 {
    let mut held = send_and_stay(&to, count, &most_of_a_body(20_000)[..10_000]).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for stream in &mut held {
            let _ = tokio::time::timeout(Duration::from_millis(5), stream.write_all(b"a")).await;
        }
    }
    held.len() as u64
}

/// One request, whatever comes of it.
async fn send(request: reqwest::RequestBuilder) -> u64 {
    match request.timeout(Duration::from_secs(20)).send().await {
        Ok(answer) => u64::from(answer.bytes().await.is_ok()),
        Err(_) => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            0
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what this is run for")]
async fn besiege(seconds: usize) {
    let defence = Defence::new(seconds).await;
    let begun = Instant::now();
    send(defence.heavy_request()()).await;
    println!("one request with heavy authorization_details, alone: {:.0?}", begun.elapsed());
    let siege = Siege::begin(&defence);
    // The attacks are under way before the first stop.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut took, mut refused) = (Vec::new(), 0);
    for agent in 0..seconds {
        let next = tokio::time::sleep(Duration::from_secs(1));
        took.push(defence.stop(agent).await);
        // It may get no answer in time, but never a token.
        let (answer, ()) = tokio::join!(defence.ask_once(agent), next);
        assert!(answer["access_token"].is_null(), "a stopped agent got a token");
        refused += usize::from(answer["reason"] == "revoked");
    }
    let done = siege.end().await;
    let mut obeyed = Vec::new();
    for agent in 0..seconds {
        obeyed.push(defence.is_stopped(agent).await);
    }
    let memory = most_memory(&defence.broker);
    took.sort_unstable();
    let (half, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("revoke, {seconds} times under siege: median {half:.0?}, longest {most:.0?}");
    let stopped = obeyed.iter().filter(|obeyed| **obeyed).count();
    println!("{stopped} of {seconds} stops obeyed; {refused} refused at once; most memory {memory} MiB");
    for (name, count) in done {
        println!("  {name}: {count}");
    }
    assert!(most < Duration::from_secs(1), "revoke took {most:?}");
    assert!(obeyed.iter().all(|obeyed| *obeyed), "{obeyed:?}");
    assert!(memory < MOST, "{memory} MiB");
    defence.end();
}

#[expect(clippy::print_stdout, reason = "the figures are what this is run for")]
async fn start_fleet(count: usize) {
    let begun = Instant::now();
    let (broker, taken) = fleet::start(count).await;
    let longest = fleet::assert_all(&taken);
    println!(
        "a fleet of {} got its tokens: longest {longest:.1?}, {:.1?} in all",
        taken.len(),
        begun.elapsed()
    );
    println!("  most memory {} MiB", most_memory(&broker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "scripts/siege --short"]
async fn short() {
    besiege(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "scripts/siege"]
async fn full() {
    start_fleet(5000).await;
    besiege(45).await;
}
