//! The broker under siege, and those who defend it: an operator with the real command, and a verifier.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hallpass::domain::digest::Digest;
use serde_json::{Value, json};

use super::exchange;
use crate::support::broker::AUDIENCE;
use crate::support::process::{Plan, Process, eventually, read};
use crate::support::signer::Signer;

/// The key of an operator of the weakest role.
pub(super) const AUDITOR: &str = "an-auditor-of-the-tests";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(super) struct Defence {
    pub(super) broker: Process,
    /// By which the agent `keyed` is registered.
    key: Signer,
    /// Calls from an address of its own, as others would.
    http: reqwest::Client,
    /// A token of each agent that is to be stopped.
    tokens: Vec<String>,
    /// Nobody reads the log; dropping this would end the broker's writes.
    _reader: fs::File,
}

impl Defence {
    /// A broker with `agents` agents to stop, each with a token, whose log nobody reads.
    pub(super) async fn new(agents: usize) -> Self {
        let key = Signer::es256("key-1");
        let auditor = Digest::of(AUDITOR.as_bytes());
        let more = format!(
            "[[admin.operator]]\nname = \"auditor\"\nroles = [\"auditor\"]\nkey_sha256 = \"{auditor}\""
        );
        let before = "ulimit -Sn 1024".to_owned();
        let mut broker = Process::prepare(Plan { more, before, ..Plan::default() });
        let file = |name: &str| broker.file(&format!("agents/{name}.toml"));
        let template = fs::read_to_string(file("payments-refactorer")).unwrap();
        for agent in 0..agents {
            let claims = format!("refs/heads/siege-{agent}");
            let text = template.replacen("refs/heads/main", &claims, 1);
            fs::write(file(&format!("siege-{agent}")), text).unwrap();
        }
        let jwk = key.public_jwk();
        let members = jwk.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}"));
        let identity = format!("[[identity]]\nkey = {{ {} }}\n", members.collect::<Vec<_>>().join(", "));
        let (head, tail) = template.split_once("[[identity]]").unwrap();
        let rest = tail.split_once("[[repository]]").unwrap().1;
        fs::write(file("keyed"), format!("{head}{identity}[[repository]]{rest}")).unwrap();
        let pipe = broker.file("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        broker.log_to(&pipe);
        let [public, admin] = [free_port(), free_port()];
        broker.listen(public, admin);
        broker.spawn();
        let (public, admin) = (format!("http://127.0.0.1:{public}"), format!("http://127.0.0.1:{admin}"));
        let healthy = || async { broker.http.get(format!("{public}/readyz")).send().await.is_ok() };
        eventually("the broker", healthy).await;
        broker.reach(public, admin);
        #[expect(clippy::disallowed_methods, reason = "the test's own client")]
        let http = reqwest::Client::builder().no_proxy().local_address(IpAddr::from([127, 0, 0, 2]));
        let http = http.build().unwrap();
        let mut defence = Self { broker, key, http, tokens: Vec::new(), _reader: reader };
        for agent in 0..agents {
            defence.tokens.push(read(defence.ask(agent)).await.token());
        }
        defence
    }

    fn claims(&self, agent: usize) -> Value {
        let mut claims = self.broker.claims();
        claims["ref"] = json!(format!("refs/heads/siege-{agent}"));
        claims
    }

    /// What an agent sends for a token.
    fn ask(&self, agent: usize) -> reqwest::RequestBuilder {
        let proof = self.broker.signer.token(&self.claims(agent));
        self.post("/oauth/token").body(exchange(&proof))
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.broker.public));
        request.header("content-type", "application/x-www-form-urlencoded")
    }

    /// As many patterns as are compared, and costly ones, in a request like no other before it. The last of them is
    /// beyond the registration, which is found when all others were compared.
    pub(super) fn heavy_request(&self) -> impl Fn() -> reqwest::RequestBuilder + Send + Sync + use<> {
        let (http, public, proof) =
            (self.broker.http.clone(), self.broker.public.clone(), self.broker.proof());
        let count = AtomicU64::new(0);
        move || {
            let count = count.fetch_add(1, Ordering::Relaxed);
            let details = costly_details(count);
            let more = [("authorization_details", &details)];
            let more = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(more).finish();
            let request = http.post(format!("{public}/oauth/token"));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            request.body(format!("{}&{more}", exchange(&proof)))
        }
    }

    /// An assertion by a registered key that is refused at each use but the first.
    pub(super) fn refused_request(&self) -> reqwest::RequestBuilder {
        let claims = self.broker.claims();
        let assertion = self.key.token(&json!({
            "iss": "keyed", "sub": "keyed", "aud": AUDIENCE, "jti": "once",
            "iat": claims["iat"], "exp": claims["exp"],
        }));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.broker.request("").body(body)
    }

    /// Stops an agent with `hallpass revoke`, which has to succeed; how long it took.
    pub(super) async fn stop(&self, agent: usize) -> Duration {
        let begun = Instant::now();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.args(["revoke", &format!("agent:siege-{agent}"), "--reason", "a siege"]);
        command.args(["--admin-url", &self.broker.admin, "--key-file"]).arg(self.broker.file("operator.key"));
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        begun.elapsed()
    }

    /// What an agent is answered within two seconds; nothing is `null`.
    pub(super) async fn ask_once(&self, agent: usize) -> Value {
        let answer = self.ask(agent).timeout(Duration::from_secs(2)).send().await;
        match answer {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// Whether a stopped agent gets no token any more, and its token is not active.
    pub(super) async fn is_stopped(&self, agent: usize) -> bool {
        let refused = self.patiently(|| self.ask(agent)).await["reason"] == "revoked";
        let body = format!("token={}", self.tokens[agent]);
        let introspect = || {
            let request = self.post("/oauth/introspect");
            request.bearer_auth(&self.broker.operator).body(body.clone())
        };
        refused && self.patiently(introspect).await["active"] == false
    }

    /// The answer, by as many tries as it takes a client that is told to come back.
    async fn patiently(&self, request: impl Fn() -> reqwest::RequestBuilder) -> Value {
        let begun = Instant::now();
        loop {
            let answer = request().timeout(Duration::from_secs(10)).send().await;
            let status = match &answer {
                Ok(answer) => answer.status().to_string(),
                Err(error) => format!("{error:?}"),
            };
            if let Ok(answer) = answer
                && ![429, 503].contains(&answer.status().as_u16())
            {
                return answer.json().await.unwrap_or_default();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "no answer: {status}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The broker obeys SIGTERM too.
    pub(super) fn end(mut self) {
        self.broker.terminate();
        assert!(self.broker.wait().success());
    }
}

/// 128 patterns in 64 elements, of which the last is beyond the registration; just under the 16 KiB that are read.
pub(crate) fn costly_details(number: u64) -> String {
    let elements = (0..64).map(|n| {
        let branch = if n == 63 { "other" } else { "agent" };
        let pattern = |m| format!("refs/heads/{branch}/{number}-{}{n}-{m}", "*a".repeat(32));
        json!({"type": "git_repository", "identifier": "payments", "refs": [pattern(1), pattern(2)]})
    });
    let details = Value::Array(elements.collect()).to_string();
    assert!((14_500..16_384).contains(&details.len()), "{} bytes", details.len());
    details
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
