//! The servers under load, each a process of its own.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::KeyPair;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::baseline::MARK;
use crate::postgres::PostgresServer;
use crate::proofs::{AUDIENCE, ISSUER, Platform};

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    /// The processor time that it has used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.expect("Linux, for the processor time of a process");
        // After the name in parentheses: state is field 3, utime 14, stime 15, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Asks every millisecond, until the answer begins with `answer`.
async fn until_answers(address: SocketAddr, question: &str, answer: &str) {
    for _ in 0..2_000 {
        if asked(address, question).await.is_ok_and(|said| said.starts_with(answer.as_bytes())) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{address} does not answer {answer}");
}

async fn asked(address: SocketAddr, question: &str) -> std::io::Result<Vec<u8>> {
    let socket = TcpSocket::new_v4()?;
    // From another address: a socket that happens to get the port it calls would answer itself.
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_buf(&mut answer).await?;
    Ok(answer)
}

pub(crate) struct Baseline {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Baseline {
    pub(crate) async fn start(platform: &Platform) -> Self {
        let key = URL_SAFE_NO_PAD.encode(platform.es256.public_key().as_ref());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(MARK, key)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the baseline");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        Self { address: line.trim().parse().expect("an address"), process: Process(child) }
    }
}

pub(crate) struct Redis {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--protected-mode", "no"])
            .args(["--appendonly", "yes", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server; scripts/setup installs it");
        let process = Process(child);
        until_answers(SocketAddr::from(([127, 0, 0, 1], port)), "PING\r\n", "+PONG").await;
        Self { port, _process: process, _folder: folder }
    }
}

pub(crate) struct Broker {
    pub(crate) public: SocketAddr,
    pub(crate) operator: String,
    pub(crate) ready_after: Duration,
    pub(crate) process: Process,
    _folder: TempDir,
}

impl Broker {
    pub(crate) async fn start(platform: &Platform, redis: Option<&Redis>, store: &Store) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (public, admin) = (free_port(), free_port());
        let revocation = redis.map_or("memory:".to_owned(), |r| format!("redis://127.0.0.1:{}", r.port));
        write(folder.path(), platform, public, admin, (&revocation, store));
        let command = |log: &str| {
            Command::new(env!("CARGO_BIN_EXE_hallpass"))
                .args(["serve", "--config"])
                .arg(folder.path().join("hallpass.toml"))
                .env("HALLPASS_LOG", log)
                .stderr(Stdio::null())
                .spawn()
                .expect("the broker")
        };
        let public = SocketAddr::from(([127, 0, 0, 1], public));
        let begun = Instant::now();
        let process = Process(command("warn"));
        until_answers(public, "GET /readyz HTTP/1.1\r\nhost: bench\r\n\r\n", "HTTP/1.1 200").await;
        let ready_after = begun.elapsed();
        let operator = std::fs::read_to_string(folder.path().join("operator.key")).expect("the key");
        Self { public, operator: operator.trim().to_owned(), ready_after, process, _folder: folder }
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.expect("Linux, for the memory of a process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("KiB");
        kib / 1024.0
    }
}

/// Where the broker keeps what outlives it.
pub(crate) struct Store {
    /// The lines of `[store]`.
    lines: String,
}

impl Store {
    pub(crate) fn file() -> Self {
        Self { lines: "url = \"sqlite://hallpass.db\"".to_owned() }
    }

    /// A new database.
    pub(crate) fn postgres(server: &PostgresServer) -> Self {
        let (url, user) = (server.url(&server.database()), PostgresServer::USER);
        let keys = "password_file = \"password\"\nkey_encryption_key_file = \"kek\"\nspool = \"spool\"";
        Self { lines: format!("url = \"{url}\"\nusername = \"{user}\"\n{keys}") }
    }
}

fn write(folder: &Path, platform: &Platform, public: u16, admin: u16, (revocation, store): (&str, &Store)) {
    std::fs::write(folder.join("password"), PostgresServer::PASSWORD).expect("written");
    std::fs::write(folder.join("kek"), "4b".repeat(32)).expect("written");
    let store = &store.lines;
    let agent = include_str!("../../tests/it/support/payments.toml");
    std::fs::create_dir(folder.join("agents")).expect("a folder");
    std::fs::write(folder.join("agents/payments-refactorer.toml"), agent).expect("written");
    std::fs::write(folder.join("jwks.json"), platform.jwks().to_string()).expect("written");
    let config = format!(
        r#"[server]
name = "broker-{public}"
listen = "127.0.0.1:{public}"
public_url = "{AUDIENCE}"
[admin]
listen = "127.0.0.1:{admin}"
local_operator_key_file = "operator.key"
[store]
{store}
[revocation]
url = "{revocation}"
[registry]
path = "agents"
[limits]
tokens_per_minute = 0
refusals_per_minute = 0
[[issuer]]
name = "ci"
url = "{ISSUER}"
audience = "{AUDIENCE}"
jwks_file = "jwks.json"
max_age = "1h"
"#
    );
    std::fs::write(folder.join("hallpass.toml"), config).expect("written");
}
