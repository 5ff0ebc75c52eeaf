//! The reference followers as they run in earnest: programs of their own, which follow the stops of a broker and judge
//! tokens by themselves.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::broker::AUDIENCE;

/// The key of the resource server `ledger`, which every broker of the tests has.
pub(crate) const KEY: &str = "ledger-key";
const ORIGIN: &str = "https://ledger.staging.acme.internal";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Rust,
}

pub(crate) const ALL: [Language; 2] = [Language::Python, Language::Rust];

/// `examples/follower.rs`, which `cargo test` alone builds and `cargo test --test it` does not.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_hallpass"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--example", "follower"]);
        if program.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        program.with_file_name("examples").join("follower")
    })
}

pub(crate) struct Follower {
    child: Child,
    ask: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    log: tempfile::NamedTempFile,
    key: tempfile::NamedTempFile,
}

impl Follower {
    /// Starts one that calls itself `name`, and does not wait for it.
    pub(crate) fn start(language: Language, public: &str, admin: &str, name: &str) -> Self {
        let key = tempfile::NamedTempFile::new().unwrap();
        fs::write(key.path(), KEY).unwrap();
        let mut command = match language {
            Language::Python => {
                let mut python = Command::new("python3");
                python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/follower.py"));
                python
            }
            Language::Rust => Command::new(example()),
        };
        command.args(["--url", public, "--admin-url", admin, "--issuer", AUDIENCE, "--name", name]);
        command.args(["--audience", ORIGIN, "--key-file"]).arg(key.path());
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        let mut child = command.spawn().expect("a follower");
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { ask: child.stdin.take(), child, answers, log, key }
    }

    /// The same, and waits until it lets tokens pass.
    pub(crate) async fn ready(language: Language, public: &str, admin: &str, name: &str) -> Self {
        let mut follower = Self::start(language, public, admin, name);
        follower.until_fresh().await;
        follower
    }

    fn ask(&mut self, line: &str) -> Value {
        let ask = self.ask.as_mut().expect("it was not told to end");
        writeln!(ask, "{line}").unwrap();
        let answer = self.answers.next().map(|line| line.unwrap());
        let answer = answer.unwrap_or_else(|| panic!("{}", self.log()));
        serde_json::from_str(&answer).expect("JSON")
    }

    pub(crate) fn status(&mut self) -> Value {
        self.ask("status")
    }

    pub(crate) async fn until_fresh(&mut self) {
        self.until("fresh", |status| status["fresh"] == true).await;
    }

    /// Until its status is so.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "not {what}: {status}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it lets the token pass.
    pub(crate) fn passes(&mut self, token: &str) -> bool {
        self.verdict(token)["pass"].as_bool().expect("a verdict")
    }

    pub(crate) fn verdict(&mut self, token: &str) -> Value {
        self.ask(token)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Has it end in good order.
    pub(crate) fn end(mut self) {
        self.ask = None;
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{}", self.log());
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // One that is held by SIGSTOP ends all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.key;
    }
}
