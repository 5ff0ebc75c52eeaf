//! What a token costs: the real program, embedded and with Redis, against the bare cost of its parts
//! over HTTP in the same run. `scripts/bench` runs it; `BENCH_REQUESTS` sets the size of a round.
//!
//! Server and load share the machine, for every row alike, so the ratios tell more than the rates.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "issuance/baseline.rs"]
mod baseline;
#[path = "issuance/load.rs"]
mod load;
#[path = "../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "most of it is for the tests")]
mod postgres;
#[path = "issuance/proofs.rs"]
mod proofs;
#[path = "issuance/servers.rs"]
mod servers;

use std::time::Duration;

use load::{Load, Measured};
use postgres::PostgresServer;
use proofs::{Platform, Proofs};
use servers::{Baseline, Broker, Process, Redis, Store};

/// The program's own, so that the baseline has what the broker has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of each row; the median is reported.
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;

fn main() {
    if std::env::var_os(baseline::MARK).is_some() {
        return baseline::serve();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

fn requests() -> usize {
    std::env::var("BENCH_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(12_000)
}

/// `BENCH_ONLY` narrows the run to the rows of the broker whose name holds its text.
fn wanted(row: &str) -> bool {
    std::env::var("BENCH_ONLY").map_or(true, |text| row.contains(&text))
}

async fn run() {
    let platform = Platform::new();
    let n = requests();
    let baseline = Baseline::start(&platform).await;
    let es256 = Proofs::es256(&platform, n * ROUNDS * 2);
    let bare = Bare { baseline: &baseline, proofs: es256.slice(0, n) };
    let mut report = Report::default();
    let empty = rounds(&[&baseline.process], None, |_| Load::get(baseline.address, "/empty", n)).await;
    report.row("empty handler", &empty);
    report.row("bare ES256 verify + sign", &rounds(&[&baseline.process], None, |_| bare.round()).await);

    let embedded = Broker::start(&platform, None, &Store::file()).await;
    println!("start to ready, embedded: {:.0} ms\n", embedded.ready_after.as_secs_f64() * 1000.0);
    broker_rows("embedded", &embedded, &platform, &bare, es256.slice(0, n * ROUNDS), &mut report).await;
    drop(embedded);
    let redis = Redis::start().await;
    let with_redis = Broker::start(&platform, Some(&redis), &Store::file()).await;
    let proofs = es256.slice(n * ROUNDS, n * ROUNDS);
    broker_rows("Redis", &with_redis, &platform, &bare, proofs, &mut report).await;
    if wanted("light load, memory") {
        light_load(&with_redis, &platform).await;
        memory(&with_redis, &platform).await;
    }
    drop(with_redis);
    let server = PostgresServer::start();
    for nodes in [1, 2, 4] {
        on_postgres(&server, nodes, &platform, &bare, &mut report).await;
    }
}

/// Brokers that share a database and a Redis: all of them together.
async fn on_postgres(
    server: &PostgresServer,
    nodes: usize,
    platform: &Platform,
    bare: &Bare<'_>,
    report: &mut Report,
) {
    let row = format!("PostgreSQL, {nodes} brokers: ES256 proof");
    if !wanted(&row) {
        return;
    }
    let (n, redis) = (requests(), Redis::start().await);
    let store = Store::postgres(server);
    let mut brokers = Vec::new();
    for _ in 0..nodes {
        brokers.push(Broker::start(platform, Some(&redis), &store).await);
    }
    let processes: Vec<&Process> = brokers.iter().map(|broker| &broker.process).collect();
    let proofs = Proofs::es256(platform, n * ROUNDS);
    let one = |round| {
        let each = n / nodes;
        let loads = brokers.iter().enumerate().map(move |(node, broker)| (node, broker.public));
        let loads: Vec<_> = loads
            .map(|(node, at)| {
                Load::exchange_over(at, proofs.slice(round * n + node * each, each), CONNECTIONS / nodes)
            })
            .collect();
        async move { Measured::together(futures_util::future::join_all(loads).await) }
    };
    report.row(&row, &rounds(&processes, Some(bare), one).await);
}

async fn broker_rows(
    name: &str,
    broker: &Broker,
    platform: &Platform,
    bare: &Bare<'_>,
    es256: Proofs,
    report: &mut Report,
) {
    let n = requests();
    let (process, bare) = (&[&broker.process], Some(bare));
    let row = format!("{name}: ES256 proof, seen first");
    if wanted(&row) {
        let one = |round| Load::exchange(broker.public, es256.slice(round * n, n));
        report.row(&row, &rounds(process, bare, one).await);
    }
    let row = format!("{name}: ES256 proof, repeated");
    if wanted(&row) {
        let fleet = Proofs::es256(platform, 500).repeated(n);
        report.row(&row, &rounds(process, bare, |_| Load::exchange(broker.public, fleet.clone())).await);
    }
    let row = format!("{name}: RS256 proof, seen first");
    if wanted(&row) {
        let few = (n / 4).max(1);
        let rs256 = Proofs::rs256(platform, few * ROUNDS);
        let one = |round| Load::exchange(broker.public, rs256.slice(round * few, few));
        report.row(&row, &rounds(process, bare, one).await);
    }
    let row = format!("{name}: introspection");
    if wanted(&row) {
        let token = load::first_token(broker.public, &es256.slice(0, 1)).await;
        let one = |_| Load::introspect(broker.public, &token, &broker.operator, n);
        report.row(&row, &rounds(process, bare, one).await);
    }
}

/// The limit that a row of the broker is compared with.
struct Bare<'a> {
    baseline: &'a Baseline,
    proofs: Proofs,
}

impl Bare<'_> {
    async fn round(&self) -> Measured {
        Load::exchange(self.baseline.address, self.proofs.clone()).await
    }
}

/// What a round measured, and what it cost the server alone.
struct Round {
    measured: Measured,
    /// Microseconds of processor time a call.
    cost: f64,
    /// Of the rate of the bare round right before it: the speed of a shared machine changes by the minute.
    to_bare: Option<f64>,
}

async fn rounds<F: Future<Output = Measured>>(
    servers: &[&Process],
    bare: Option<&Bare<'_>>,
    round: impl Fn(usize) -> F,
) -> Vec<Round> {
    let mut all = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        let bare = match bare {
            Some(bare) => Some(bare.round().await.rate),
            None => None,
        };
        let used = || servers.iter().map(|server| server.processor_time()).sum::<Duration>();
        let before = used();
        let measured = round(number).await;
        let used = used().saturating_sub(before);
        let cost = used.as_secs_f64() * 1e6 / measured.calls as f64;
        all.push(Round { cost, to_bare: bare.map(|bare| measured.rate / bare), measured });
    }
    all
}

fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Default)]
struct Report {
    begun: bool,
}

impl Report {
    fn row(&mut self, name: &str, rounds: &[Round]) {
        if !std::mem::replace(&mut self.begun, true) {
            println!("{CONNECTIONS} connections, medians of {ROUNDS} rounds");
            println!(
                "{:34} {:>9} {:>9} {:>9} {:>8} {:>8}",
                "", "calls/s", "p50 ms", "p99 ms", "to bare", "cpu µs"
            );
        }
        let of = |value: fn(&Measured) -> f64| median(rounds, |round| value(&round.measured));
        let (rate, p50, p99) = (of(|m| m.rate), of(|m| m.p50), of(|m| m.p99));
        let cost = median(rounds, |round| round.cost);
        let compared = rounds.iter().all(|round| round.to_bare.is_some());
        let ratio = compared.then(|| 100.0 * median(rounds, |round| round.to_bare.unwrap_or_default()));
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.0} %"));
        println!("{name:34} {rate:9.0} {p50:9.2} {p99:9.2} {ratio:>8} {cost:8.1}");
    }
}

async fn light_load(broker: &Broker, platform: &Platform) {
    let proofs = Proofs::es256(platform, 2_000);
    let measured = Load::paced(broker.public, proofs.slice(0, 2_000), 200).await;
    println!("\nat 200 calls/s, Redis: p50 {:.2} ms, p99 {:.2} ms", measured.p50, measured.p99);
}

async fn memory(broker: &Broker, platform: &Platform) {
    let total = 200_000;
    let fleet = Proofs::es256(platform, 500);
    Load::exchange(broker.public, fleet.repeated(total)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("resident after {total} more issuances, Redis: {:.1} MiB", broker.resident_mib());
}
