//! A whole broker in this process: real listeners, a real store on disk, a real issuer, and Redis where
//! the test asks for it. [`TestApp::finish`] fails the test when a token was released without its event.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};

use hallpass::app::{Ambient, App};
use hallpass::config;
use hallpass::domain::random::Random;
use hallpass::domain::time::{Clock, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use crate::support::configuration::configuration;
use crate::support::issuer::Issuer;
use crate::support::redis::RedisServer;

pub(crate) const AUDIENCE: &str = "https://hallpass.test";
pub(crate) const PAYMENTS: &str = include_str!("payments.toml");

/// Where the kill switch lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Redis,
}

pub(crate) const BOTH: [Backend; 2] = [Backend::Memory, Backend::Redis];

pub(crate) fn install_providers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        hallpass::token::install_crypto();
    });
}

/// The system's clock, or one that stands still; a test can push either forward.
#[derive(Clone, Default)]
pub(crate) struct Hands {
    pushed: Arc<AtomicI64>,
    still_at: Option<Timestamp>,
}

impl Hands {
    /// A clock that only moves when it is pushed.
    pub(crate) fn still(at: Timestamp) -> Self {
        Self { still_at: Some(at), ..Self::default() }
    }

    pub(crate) fn push(&self, seconds: i64) {
        self.pushed.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    #[expect(clippy::disallowed_methods, reason = "tests run in real time, which they push forward")]
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.still_at.map_or_else(|| jiff::Timestamp::now().as_millisecond(), Timestamp::millis);
        Timestamp::from_millis(now + self.pushed.load(Ordering::SeqCst))
    }

    pub(crate) fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.now())
    }
}

#[expect(clippy::disallowed_methods, reason = "a broker in a test is as random as any")]
pub(crate) fn random() -> Random {
    Random::new(ring::rand::SystemRandom::new())
}

pub(crate) struct TestApp {
    pub(crate) issuer: Issuer,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) hands: Hands,
    pub(crate) public: String,
    pub(crate) admin: String,
    pub(crate) operator: String,
    pub(super) folder: TempDir,
    /// The store that it shares with other brokers of the test.
    pub(super) shared: Option<hallpass::store::Store>,
    /// The database in PostgreSQL that several brokers share.
    pub(super) database: Option<String>,
    pub(super) app: Option<App>,
    pub(super) http: reqwest::Client,
    pub(super) released: Mutex<BTreeSet<String>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl TestApp {
    pub(crate) async fn start(backend: Backend) -> Self {
        Self::with(backend, "").await
    }

    /// With more lines at the end of `hallpass.toml`.
    pub(crate) async fn with(backend: Backend, more: &str) -> Self {
        Self::prepared(backend, more, |_| {}).await
    }

    /// The same, after `change` of the folder with `hallpass.toml` and `agents/`.
    pub(crate) async fn prepared(backend: Backend, more: &str, change: impl FnOnce(&Path)) -> Self {
        let agents = [("payments-refactorer", PAYMENTS.to_owned())];
        let configure = |url: &str, issuer: &str| configuration(url, issuer, more);
        Self::raised(backend, Hands::default(), configure, &agents, change).await
    }

    /// A broker that calls itself by the address it is asked at, as what its agents sign has to say it.
    pub(crate) async fn at_its_own_address(backend: Backend, more: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = format!("http://127.0.0.1:{port}");
        let rename = |folder: &Path| {
            let file = folder.join("hallpass.toml");
            let text = fs::read_to_string(&file).unwrap();
            let listen = format!("listen = \"127.0.0.1:{port}\"");
            let text = text.replacen("listen = \"127.0.0.1:0\"", &listen, 1);
            fs::write(file, text.replace(AUDIENCE, &own)).unwrap();
        };
        Self::prepared(backend, more, rename).await
    }

    /// With a clock, a configuration (of the URLs of the kill switch and of the issuer) and agent files,
    /// each with its id, of the test's own.
    pub(crate) async fn made(
        backend: Backend,
        hands: Hands,
        configure: impl FnOnce(&str, &str) -> String,
        agents: &[(&str, String)],
    ) -> Self {
        Self::raised(backend, hands, configure, agents, |_| {}).await
    }

    async fn raised(
        backend: Backend,
        hands: Hands,
        configure: impl FnOnce(&str, &str) -> String,
        agents: &[(&str, String)],
        change: impl FnOnce(&Path),
    ) -> Self {
        let mut app = Self::unstarted(backend, hands, configure, agents, change).await;
        app.boot().await;
        app
    }

    pub(super) async fn unstarted(
        backend: Backend,
        hands: Hands,
        configure: impl FnOnce(&str, &str) -> String,
        agents: &[(&str, String)],
        change: impl FnOnce(&Path),
    ) -> Self {
        install_providers();
        let redis = match backend {
            Backend::Memory => None,
            Backend::Redis => Some(RedisServer::start()),
        };
        let url = redis.as_ref().map_or("memory:".to_owned(), |redis| redis.url().to_string());
        let issuer = Issuer::start().await;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agents")).unwrap();
        for (id, text) in agents {
            fs::write(folder.path().join(format!("agents/{id}.toml")), text).unwrap();
        }
        fs::write(folder.path().join("hallpass.toml"), configure(&url, issuer.url())).unwrap();
        change(folder.path());
        Self {
            issuer,
            redis,
            hands,
            public: String::new(),
            admin: String::new(),
            operator: String::new(),
            folder,
            shared: None,
            database: None,
            app: None,
            http: client(),
            released: Mutex::default(),
        }
    }

    /// Starts the broker on the same folder, after [`TestApp::shutdown`].
    pub(crate) async fn boot(&mut self) {
        let checked = config::check(&self.file("hallpass.toml"), std::iter::empty());
        let checked = checked.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let ambient = Ambient { clock: self.hands.clock(), random: random(), store: self.shared.clone() };
        let app = App::start(checked, ambient).await.expect("a broker");
        self.public = format!("http://{}", app.public);
        self.admin = format!("http://{}", app.admin);
        self.operator = fs::read_to_string(self.file("operator.key")).unwrap().trim().to_owned();
        self.app = Some(app);
    }

    pub(crate) async fn shutdown(&mut self) {
        self.app.take().expect("a running broker").stop().await.expect("no stop was lost");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The claims of the agent's CI job.
    pub(crate) fn claims(&self) -> Value {
        let mut claims = self.issuer.claims(
            self.hands.now().seconds(),
            AUDIENCE,
            "repo:acme/payments:ref:refs/heads/main",
        );
        claims["repository_id"] = json!("456789");
        claims["ref"] = json!("refs/heads/main");
        claims
    }

    /// A good proof.
    pub(crate) fn proof(&self) -> String {
        self.issuer.token(self.claims())
    }

    pub(crate) async fn post_form(&self, path: &str, form: &[(&str, &str)], bearer: Option<&str>) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self
            .http
            .post(format!("{}{path}", self.public))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a body") }
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A token exchange with these parameters beside the proof.
    pub(crate) async fn exchange(&self, proof: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", proof),
        ];
        form.extend_from_slice(more);
        let answer = self.post_form("/oauth/token", &form, None).await;
        if answer.status == 200 {
            self.note_released(&answer.token());
        }
        answer
    }

    pub(crate) fn note_released(&self, token: &str) {
        let jti = decode(token)["jti"].as_str().expect("a jti").to_owned();
        self.released.lock().unwrap().insert(jti);
    }

    /// A token for all that is free.
    pub(crate) async fn issue(&self) -> String {
        self.exchange(&self.proof(), &[]).await.token()
    }

    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let operator = self.operator.clone();
        self.post_form("/oauth/introspect", &[("token", token)], Some(&operator)).await.json()
    }

    pub(crate) async fn active(&self, token: &str) -> bool {
        self.introspect(token).await["active"].as_bool().expect("a verdict")
    }

    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.admin)).bearer_auth(&self.operator)).await
    }

    pub(crate) async fn admin_post(&self, path: &str, body: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.admin)).bearer_auth(&self.operator);
        self.send(request.body(body.to_string())).await
    }

    /// Stops `target`; the id of the stop.
    pub(crate) async fn revoke(&self, target: &str) -> String {
        let answer = self.admin_post("/v1/revocations", &json!({"target": target, "reason": "a test"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["revocation"]["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn lift(&self, stop: &str) {
        let path = format!("/v1/revocations/{stop}/lift");
        let answer = self.admin_post(&path, &json!({"reason": "a test"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Every event, newest first, by as many pages as it takes.
    pub(crate) async fn events(&self, query: &str) -> Vec<Value> {
        let mut path = format!("/v1/audit/events?limit=500&{query}");
        let mut events = Vec::new();
        loop {
            let answer = self.admin_get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            events.extend(answer.json()["events"].as_array().expect("events").iter().cloned());
            match answer.header("link").split_once('>') {
                Some((next, _)) => path = next.trim_start_matches('<').to_owned(),
                None => return events,
            }
        }
    }

    pub(super) async fn every_release_has_its_event(&self) {
        let issued = self.events("kind=token.issued").await;
        let known: BTreeSet<&str> = issued.iter().filter_map(|event| event["token"].as_str()).collect();
        for jti in self.released.lock().unwrap().iter() {
            assert!(known.contains(jti.as_str()), "the token {jti} was released without its event");
        }
    }

    /// Ends the broker, and holds it to laws 4 and 6: every token has its event, and the log verifies.
    pub(crate) async fn finish(mut self) {
        if self.app.is_some() {
            self.every_release_has_its_event().await;
            self.shutdown().await;
        }
        self.verify_log();
    }
}

/// The payload of a JWT, unverified.
pub(crate) fn decode(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
pub(crate) fn client() -> reqwest::Client {
    install_providers();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
