//! The command line against a broker whose answers are given: what it sends, prints and exits with.
//! What a real broker answers is tested in `tests/it/`.

mod admin;
mod between;
mod check;
mod client;
mod explain;
mod export;
mod init;
mod keys;
mod tables;
mod token;
mod whoami;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;

use crate::cli::Host;
use crate::domain::random::Random;
use crate::domain::time::{Clock, Timestamp};

/// 2026-11-23T09:30:00Z
const NOW: i64 = 1_795_426_200;
const OPERATOR_KEY: &str = "hpo_canary-of-the-operator-key";

/// A request as the broker got it.
#[derive(Debug, Clone)]
struct Seen {
    /// `METHOD /path?query`
    line: String,
    authorization: Option<String>,
    host: String,
    dpop: Option<String>,
    body: String,
}

impl Seen {
    /// The members of a form.
    fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

/// What it answers: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);

fn ok(body: impl Into<String>) -> Answer {
    (200, vec![], body.into())
}

/// A broker with canned answers, at a port of its own until the test process ends.
struct Canned {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Canned {
    fn new(answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let app = axum::Router::new().fallback(move |request: Request<Body>| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let seen = Seen {
                line: format!("{} {}", head.method, head.uri),
                authorization: header("authorization"),
                host: header("host").unwrap(),
                dpop: header("dpop"),
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            let (status, headers, body) = answer(&seen);
            log.lock().unwrap().push(seen);
            let response = Response::builder().status(status);
            let add = |response: axum::http::response::Builder, (name, value)| response.header(name, value);
            headers.into_iter().fold(response, add).body(Body::from(body)).unwrap()
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
    err: String,
}

/// The machine that commands run on: a folder, an environment, a terminal or none.
struct Machine {
    folder: tempfile::TempDir,
    env: HashMap<&'static str, OsString>,
    terminal: bool,
    /// What stands in standard input.
    input: String,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            env: HashMap::new(),
            terminal: false,
            input: String::new(),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        let mut file = private(&path);
        file.write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut out = Vec::new();
        let (code, err) = self.run_into(args, &mut out);
        Ran { code, out: String::from_utf8(out).unwrap(), err }
    }

    fn run_into(&self, args: &[&str], out: &mut dyn Write) -> (u8, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut err = Vec::new();
        let mut host = Host {
            clock: Clock::new(|| Timestamp::from_seconds(NOW)),
            random: random(),
            env: &|name| self.env.get(name).cloned(),
            input: &mut self.input.as_bytes(),
            out,
            err: &mut err,
            terminal: self.terminal,
        };
        let args = std::iter::once("hallpass").chain(args.iter().copied()).map(OsString::from);
        let code = crate::cli::run(args, &mut host);
        (code, String::from_utf8(err).unwrap())
    }

    /// An operator's command against `broker`.
    fn operate(&self, broker: &Canned, args: &[&str]) -> Ran {
        let key = self.file("operator.key", &format!("{OPERATOR_KEY}\n"));
        self.run(&[args, &["--admin-url", &broker.url, "--key-file", &key]].concat())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its machine")]
fn random() -> Random {
    Random::new(ring::rand::SystemRandom::new())
}

fn private(path: &std::path::Path) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap()
}

/// Standard output whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
