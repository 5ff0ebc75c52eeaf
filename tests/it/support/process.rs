//! A broker as it runs in earnest: the program itself as a child process, with a folder, a configuration
//! and ports of its own, whose log is kept and which can be killed, stopped in order, and started again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hallpass::domain::digest::Digest;
use hallpass::domain::event::{Event, EventFilter, Kind};
use hallpass::store::Reader;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::broker::{AUDIENCE, Answer, Hands, PAYMENTS, client, decode};
use crate::support::configuration::configuration_of;
use crate::support::signer::Signer;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// `iss` of the proofs; nobody contacts it, for its keys are in a file.
const CI: &str = "https://ci.test";

/// How to start one.
pub(crate) struct Plan {
    /// `revocation.url`.
    pub(crate) revocation: String,
    /// More lines at the end of `hallpass.toml`.
    pub(crate) more: String,
    /// `HALLPASS_LOG`.
    pub(crate) log: &'static str,
    /// What the shell does before it becomes the broker, such as `trap '' XFSZ`.
    pub(crate) before: String,
    /// More flags of `serve`.
    pub(crate) flags: &'static str,
    /// Where standard error goes, instead of [`Process::log`].
    pub(crate) stderr: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            revocation: "memory:".to_owned(),
            more: String::new(),
            log: "info",
            before: String::new(),
            flags: "",
            stderr: None,
        }
    }
}

pub(crate) struct Process {
    pub(crate) public: String,
    pub(crate) admin: String,
    pub(crate) operator: String,
    pub(crate) http: reqwest::Client,
    pub(crate) signer: Signer,
    plan: Plan,
    folder: TempDir,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn start() -> Self {
        Self::with(Plan::default())
    }

    pub(crate) fn with(plan: Plan) -> Self {
        let mut process = Self::prepare(plan);
        process.boot();
        process
    }

    /// The folder and all that is in it, before the first start.
    pub(crate) fn prepare(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::es256("ci-1");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("agents")).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        write("agents/payments-refactorer.toml", PAYMENTS);
        write("jwks.json", &json!({"keys": [signer.published_jwk()]}).to_string());
        write("hallpass.toml", &configuration(&plan));
        let (public, admin, operator) = Default::default();
        Self { public, admin, operator, http: client(), signer, plan, folder, child: None }
    }

    /// Starts it, again too, and waits until it says that it is ready.
    pub(crate) fn boot(&mut self) {
        self.boot_until("ready");
    }

    /// Starts it, and waits until its log says `message`, and where it listens.
    pub(crate) fn boot_until(&mut self, message: &str) {
        let before = fs::metadata(self.log_file()).map_or(0, |log| log.len());
        self.spawn();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ready = loop {
            let log = self.log();
            let ready = log[usize::try_from(before).unwrap()..].lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["fields"]["message"] == message).then(|| line["fields"].clone())
            });
            if let Some(ready) = ready {
                break ready;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {log}");
            assert!(Instant::now() < deadline, "not «{message}»: {log}");
            std::thread::sleep(Duration::from_millis(3));
        };
        let url = |listener: &str| format!("http://{}", ready[listener].as_str().expect("an address"));
        self.reach(url("public"), url("admin"));
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new("bash");
        let script = format!("{}\nexec \"$0\" serve --config \"$1\" {}", self.plan.before, self.plan.flags);
        command.args(["-c", &script, env!("CARGO_BIN_EXE_hallpass")]).arg(self.file("hallpass.toml"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALLPASS_") {
                command.env_remove(name);
            }
        }
        let stderr = match &self.plan.stderr {
            Some(path) => File::options().write(true).open(path).unwrap(),
            None => OpenOptions::new().append(true).create(true).open(self.log_file()).unwrap(),
        };
        let stdout = OpenOptions::new().append(true).create(true).open(self.file("stdout")).unwrap();
        command.env("HALLPASS_LOG", self.plan.log).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        self.child = Some(command.spawn().unwrap());
    }

    /// Writes standard error there, in place of [`Process::log`].
    pub(crate) fn log_to(&mut self, path: &Path) {
        self.plan.stderr = Some(path.to_path_buf());
    }

    /// Listens at these ports of loopback from the next start on, in place of any that are free.
    pub(crate) fn listen(&self, public: u16, admin: u16) {
        let file = self.file("hallpass.toml");
        let text = fs::read_to_string(&file).unwrap();
        let any = "listen = \"127.0.0.1:0\"";
        let text = text.replacen(any, &format!("listen = \"127.0.0.1:{public}\""), 1);
        fs::write(file, text.replacen(any, &format!("listen = \"127.0.0.1:{admin}\""), 1)).unwrap();
    }

    /// Where the listeners are. Only for a broker whose log cannot be read.
    pub(crate) fn reach(&mut self, public: String, admin: String) {
        (self.public, self.admin) = (public, admin);
        self.operator = fs::read_to_string(self.file("operator.key")).unwrap().trim().to_owned();
    }

    /// Adds these flags to `serve` from the next start on.
    pub(crate) fn flags(&mut self, flags: &'static str) {
        self.plan.flags = flags;
    }

    /// In order, with the exit code 0.
    pub(crate) fn end(&mut self) {
        self.terminate();
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
    }

    /// Starts it, and gives what it says when it refuses to.
    pub(crate) fn refused(&mut self) -> String {
        let before = self.log().len();
        self.spawn();
        assert_eq!(self.wait().code(), Some(1), "{}", self.log());
        self.log()[before..].to_owned()
    }

    /// Whether it says that the token is good.
    pub(crate) async fn active(&self, token: &str) -> bool {
        let asked = self.http.post(format!("{}/oauth/introspect", self.public)).bearer_auth(&self.operator);
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let answer = read(asked.body(format!("token={token}"))).await;
        answer.json()["active"].as_bool().unwrap_or_else(|| panic!("{}", answer.text))
    }

    /// Uses another `revocation.url` from the next start on.
    pub(crate) fn revoke_by(&mut self, url: &str) {
        url.clone_into(&mut self.plan.revocation);
        fs::write(self.file("hallpass.toml"), configuration(&self.plan)).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP, SIGQUIT and the like, without waiting.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Changes `hallpass.toml`.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let file = self.file("hallpass.toml");
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
    }

    /// Waits for its end, ten seconds and no longer.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("the broker did not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("data/hallpass.db")
    }

    fn log_file(&self) -> PathBuf {
        self.file("stderr")
    }

    /// All that it ever wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The claims of the agent's CI job.
    pub(crate) fn claims(&self) -> Value {
        let now = Hands::default().now().seconds();
        json!({
            "iss": CI, "aud": AUDIENCE, "sub": "repo:acme/payments:ref:refs/heads/main",
            "repository_id": "456789", "ref": "refs/heads/main", "iat": now, "nbf": now, "exp": now + 300,
        })
    }

    pub(crate) fn proof(&self) -> String {
        self.signer.token(&self.claims())
    }

    /// A token exchange, ready to be sent.
    pub(crate) fn request(&self, proof: &str) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}/oauth/token", self.public))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(exchange(proof))
    }

    pub(crate) async fn exchange(&self) -> Answer {
        read(self.request(&self.proof())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        read(self.http.get(format!("{}{path}", self.public))).await
    }

    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        read(self.http.get(format!("{}{path}", self.admin)).bearer_auth(&self.operator)).await
    }

    pub(crate) async fn revoke(&self, target: &str) -> Answer {
        let body = json!({"target": target, "reason": "a test"}).to_string();
        let request = self.http.post(format!("{}/v1/revocations", self.admin)).bearer_auth(&self.operator);
        read(request.body(body)).await
    }

    /// Every event of the log on disk, oldest first, whether or not the broker runs.
    pub(crate) fn events(&self, kind: Option<Kind>) -> Vec<Event> {
        let reader = Reader::open(&self.database()).unwrap();
        let filter = EventFilter { kind, ..EventFilter::default() };
        let (mut events, mut before) = (Vec::new(), None);
        loop {
            let page = reader.events(&filter, 500, before).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.seq);
            events.extend(page.iter().map(|recorded| recorded.event().expect("an event")));
        }
        events.reverse();
        events
    }

    /// Laws 4 and 6: the log verifies, and each of these tokens has its event, by id and hash.
    pub(crate) fn holds_every(&self, tokens: &[String]) {
        hallpass::cli::audit::verify_file(&self.database(), None).expect("an unbroken log");
        let issued = self.events(Some(Kind::TokenIssued));
        let known: BTreeMap<String, Digest> = issued
            .iter()
            .map(|event| (event.token.unwrap().to_string(), event.token_sha256.unwrap()))
            .collect();
        assert_eq!(known.len(), issued.len(), "an id was used twice");
        for token in tokens {
            let jti = decode(token)["jti"].as_str().unwrap().to_owned();
            assert_eq!(known.get(&jti), Some(&Digest::of(token.as_bytes())), "{jti} has no event");
        }
    }
}

impl Drop for Process {
    #[expect(clippy::print_stdout, reason = "the broker's log says why a test failed")]
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            for line in lines.iter().rev() {
                println!("broker: {line}");
            }
        }
    }
}

/// The form of a token exchange.
pub(crate) fn exchange(proof: &str) -> String {
    let form = [("grant_type", EXCHANGE), ("subject_token_type", JWT), ("subject_token", proof)];
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a body") }
}

/// Until `holds` says so, at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// Runs the program once, for what it prints.
pub(crate) fn hallpass(arguments: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hallpass")).args(arguments).arg(file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn configuration(plan: &Plan) -> String {
    let more = format!("jwks_file = \"jwks.json\"\n\n{}", plan.more);
    configuration_of("sqlite://data/hallpass.db", &plan.revocation, CI, &more)
}
