//! `hallpass status`: the installation as one broker sees it.

use serde::Deserialize;

use crate::cli::admin::AdminArgs;
use crate::cli::client::wait;
use crate::cli::show::{json_line, or_dash, safe, table_within, wrapped};
use crate::cli::table::to_the_second;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::count::counted;

/// Wherever it is read: it is for eyes, and `--json` for programs.
const WIDTH: usize = 80;
const INDENT: usize = 4;

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Print the broker's JSON as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What is printed of the answer; a later version may have more.
#[derive(Debug, Deserialize)]
struct Status {
    status: String,
    degraded: Vec<Degraded>,
    broker: Broker,
    nodes: Vec<Node>,
    enforcement_points: Vec<EnforcementPoint>,
    store: Store,
    redis: Option<Redis>,
    keys: Vec<Key>,
    next_rotation: Option<String>,
    certificates: Vec<Certificate>,
    stops: Stops,
    last_drill: Option<LastDrill>,
}

#[derive(Debug, Deserialize)]
struct LastDrill {
    at: String,
    passed: bool,
}

#[derive(Debug, Deserialize)]
struct Degraded {
    what: String,
    remedy: String,
}

#[derive(Debug, Deserialize)]
struct Broker {
    name: String,
    version: String,
    started: String,
    registry: String,
    agents: u64,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    alive: bool,
    version: Option<String>,
    started: Option<String>,
    registry: Option<String>,
    clock_offset_ms: Option<i64>,
    silent_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct EnforcementPoint {
    name: String,
    follows: bool,
    silent_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Store {
    kind: String,
    reachable: bool,
    writable: bool,
    latency_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Redis {
    usable: bool,
    latency_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Key {
    kid: String,
    algorithm: String,
    signs_from: String,
    signs: bool,
}

#[derive(Debug, Deserialize)]
struct Certificate {
    listener: String,
    expires: String,
}

#[derive(Debug, Deserialize)]
struct Stops {
    in_force: u64,
    waiting: u64,
}

/// # Errors
/// Failed where the broker is not well, or does not answer.
pub fn run(args: &StatusArgs, host: &mut Host<'_>) -> Outcome {
    let client = args.admin.connect(host)?;
    let answer = wait(client.get("/v1/status", &[]))?.success()?;
    let status: Status = answer.json()?;
    if args.json {
        writeln!(host.out, "{}", json_line(answer.text()?.trim(), host.terminal))?;
    } else {
        host.out.write_all(status.text().as_bytes())?;
    }
    match status.status.as_str() {
        "ok" => Ok(()),
        // The output has named each part, and what to do.
        "degraded" => Err(Failure::failed(format!("{} is degraded", client.base()))),
        _ => Err(Failure::failed(format!("{} is not ready: no token can be issued", client.base()))),
    }
}

impl Status {
    fn text(&self) -> String {
        let mut text = self.head();
        for part in &self.degraded {
            text += &paragraph("  ! ", &part.what);
            text += &paragraph("    do: ", &part.remedy);
        }
        text +=
            &section("Brokers", &["NAME", "VERSION", "STARTED", "REGISTRY", "CLOCK", "SEEN"], &self.nodes());
        text += &section("Enforcement points", &["NAME", "FOLLOWS", "SEEN"], &self.points());
        text += &section("Signing keys", &["ALGORITHM", "SIGNS FROM", "NOW", "KID"], &self.keys());
        text.push('\n');
        text += &self.parts();
        text
    }

    fn head(&self) -> String {
        let Broker { name, version, started, registry, agents } = &self.broker;
        let well = match self.status.as_str() {
            "ok" => "is well",
            "degraded" => "is degraded",
            _ => "is not ready: no token can be issued",
        };
        let serves = format!(
            "{name} {version} {well}; {} in registry {}, since {}",
            counted(*agents, "agent"),
            short(registry),
            to_the_second(started)
        );
        paragraph("", &serves)
    }

    fn nodes(&self) -> Vec<Vec<String>> {
        let row = |node: &Node| {
            let seen = if node.name == self.broker.name { "this one".to_owned() } else { node.seen() };
            vec![
                node.name.clone(),
                or_dash(node.version.as_deref()),
                or_dash(node.started.as_deref().map(to_the_second).as_deref()),
                or_dash(node.registry.as_deref().map(short).as_deref()),
                or_dash(node.clock_offset_ms.map(offset).as_deref()),
                seen,
            ]
        };
        self.nodes.iter().map(row).collect()
    }

    fn points(&self) -> Vec<Vec<String>> {
        let row = |point: &EnforcementPoint| {
            let follows = if point.follows { "yes" } else { "no, so it refuses" };
            vec![point.name.clone(), follows.to_owned(), ago(point.silent_ms)]
        };
        self.enforcement_points.iter().map(row).collect()
    }

    fn keys(&self) -> Vec<Vec<String>> {
        let row = |key: &Key| {
            let signs = if key.signs { "signs" } else { "verifies" };
            // The day, so that the whole `kid` fits beside it.
            let day: String = key.signs_from.chars().take("2026-11-29".len()).collect();
            vec![key.algorithm.clone(), day, signs.to_owned(), key.kid.clone()]
        };
        self.keys.iter().map(row).collect()
    }

    fn parts(&self) -> String {
        let mut parts = vec![
            (
                "next key signs",
                self.next_rotation.as_deref().map_or("when the operator gives one".to_owned(), to_the_second),
            ),
            ("store", self.store.text()),
            ("Redis", self.redis.as_ref().map_or("none (memory:)".to_owned(), Redis::text)),
        ];
        for Certificate { listener, expires } in &self.certificates {
            let label = if listener == "admin" { "admin TLS ends" } else { "public TLS ends" };
            parts.push((label, to_the_second(expires)));
        }
        let waiting = match self.stops.waiting {
            0 => String::new(),
            waiting => format!(", {waiting} of them not yet in the audit log"),
        };
        parts.push(("stops in force", format!("{}{waiting}", self.stops.in_force)));
        let drill = self.last_drill.as_ref().map(|drill| {
            format!("{} {}", to_the_second(&drill.at), if drill.passed { "passed" } else { "FAILED" })
        });
        parts.push(("last drill", drill.unwrap_or_else(|| "none".to_owned())));
        crate::cli::show::facts_within(&parts, Some(WIDTH))
    }
}

impl Node {
    fn seen(&self) -> String {
        match (self.alive, self.silent_ms) {
            (true, None) => "alive".to_owned(),
            (true, Some(silent)) => ago(silent),
            (false, silent) => format!("silent {}", ago(silent.unwrap_or(0)).trim_end_matches(" ago")),
        }
    }
}

impl Store {
    fn text(&self) -> String {
        let state = match (self.reachable, self.writable) {
            (true, true) => "answers",
            (true, false) => "answers, but cannot be written",
            (false, _) => "does not answer",
        };
        format!("{}, {state}{}", self.kind, latency(self.latency_ms))
    }
}

impl Redis {
    fn text(&self) -> String {
        let state = if self.usable { "usable" } else { "cannot be used" };
        format!("{state}{}", latency(self.latency_ms))
    }
}

/// A table under its name, or nothing where it is empty.
fn section(name: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let table = table_within(heads, rows, Some(WIDTH - 2));
    let lines: String = table.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect();
    format!("\n{name}\n{lines}")
}

/// `text` after `mark`, in lines that fit.
fn paragraph(mark: &str, text: &str) -> String {
    let text = safe(text);
    let room = WIDTH - mark.len().max(INDENT);
    let lines = wrapped(text.split(' '), " ", room);
    let indent = " ".repeat(if mark.is_empty() { 2 } else { INDENT });
    let line = |(at, line): (usize, String)| {
        if at == 0 { format!("{mark}{line}\n") } else { format!("{indent}{line}\n") }
    };
    lines.into_iter().enumerate().map(line).collect()
}

/// The first digits of `sha256:…`.
fn short(revision: &str) -> String {
    let digits = revision.strip_prefix("sha256:").unwrap_or(revision);
    digits.chars().take(8).collect()
}

fn latency(milliseconds: Option<f64>) -> String {
    milliseconds.map_or(String::new(), |time| format!(", in {time:.1} ms"))
}

/// A clock is compared to about two seconds.
fn offset(milliseconds: i64) -> String {
    match milliseconds.unsigned_abs() {
        0..=2_000 => "0 s".to_owned(),
        _ => format!("{:+} s", milliseconds / 1_000),
    }
}

fn ago(milliseconds: u64) -> String {
    match milliseconds / 1_000 {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_in_trouble_fits_on_80_columns() {
        let told = serde_json::json!({
            "status": "degraded", "later": 1,
            "degraded": [{"what": "registry: broker-b has had other agent files than this broker for over a \
                minute: sha256:aaaaaaaaaaaa there, sha256:bbbbbbbbbbbb here\u{1b}[31m", "remedy": "give every broker \
                the same agent files; see with `hallpass check-config` why one refuses them"}],
            "broker": {"name": "broker-a", "version": "0.1.0", "started": "2026-11-29T13:00:00.000Z",
                "registry": "sha256:bbbbbbbbbbbbbbbb", "agents": 2},
            "nodes": [
                {"name": "broker-a", "alive": true, "version": "0.1.0", "started": "2026-11-29T13:00:00.000Z",
                    "registry": "sha256:bbbbbbbbbbbb", "clock_offset_ms": 0, "silent_ms": 0},
                {"name": "broker-b", "alive": false, "version": "0.1.0", "started": "2026-11-29T13:00:00.000Z",
                    "registry": "sha256:aaaaaaaaaaaa", "clock_offset_ms": -3600500, "silent_ms": 130_000},
                {"name": "broker-c", "alive": true, "version": null, "started": null, "registry": null,
                    "clock_offset_ms": null, "silent_ms": null}],
            "enforcement_points": [{"name": "ledger/pod-1", "follows": false, "silent_ms": 7_000}],
            "store": {"kind": "postgres", "reachable": true, "writable": false, "latency_ms": 0.613},
            "redis": {"usable": false, "latency_ms": null},
            "keys": [{"kid": "x".repeat(43), "algorithm": "ES256", "signs_from": "2026-11-29T13:00:00.000Z",
                "signs": true}],
            "next_rotation": "2026-12-29T13:00:00.000Z",
            "certificates": [{"listener": "public", "expires": "2027-01-01T00:00:00.000Z"}],
            "stops": {"in_force": 3, "waiting": 1}, "last_drill": null,
        });
        let text = serde_json::from_value::<Status>(told).unwrap().text();
        insta::assert_snapshot!(text, @r"
        broker-a 0.1.0 is degraded; 2 agents in registry bbbbbbbb, since
          2026-11-29T13:00:00Z
          ! registry: broker-b has had other agent files than this broker for over a
            minute: sha256:aaaaaaaaaaaa there, sha256:bbbbbbbbbbbb here\u{1b}[31m
            do: give every broker the same agent files; see with `hallpass check-config`
            why one refuses them

        Brokers
          NAME      VERSION  STARTED               REGISTRY  CLOCK    SEEN
          broker-a  0.1.0    2026-11-29T13:00:00Z  bbbbbbbb  0 s      this one
          broker-b  0.1.0    2026-11-29T13:00:00Z  aaaaaaaa  -3600 s  silent 2 min
          broker-c  -        -                     -         -        alive

        Enforcement points
          NAME          FOLLOWS            SEEN
          ledger/pod-1  no, so it refuses  7 s ago

        Signing keys
          ALGORITHM  SIGNS FROM  NOW    KID
          ES256      2026-11-29  signs  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx

          next key signs   2026-12-29T13:00:00Z
          store            postgres, answers, but cannot be written, in 0.6 ms
          Redis            cannot be used
          public TLS ends  2027-01-01T00:00:00Z
          stops in force   3, 1 of them not yet in the audit log
          last drill       none
        ");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
