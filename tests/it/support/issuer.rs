//! A real OIDC issuer on a port of this host: discovery, a JWK set, tokens, and every way to misbehave.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::signer::Signer;

/// How the issuer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    /// 500 to everything.
    Broken,
    /// 500 to the next request alone.
    BrokenOnce,
    /// Accepts and says nothing for this long.
    Slow(Duration),
    /// 302 to this address, from discovery and set alike.
    Redirects(String),
    /// A set followed by so many bytes of white space.
    Huge(usize),
    /// Discovery says that it is this issuer.
    Impostor(String),
    /// Discovery names this `jwks_uri`.
    KeysElsewhere(String),
    /// 401 to whoever does not bring this bearer token.
    Guarded(String),
}

/// A running, or stopped, issuer. Its first key signs.
pub(crate) struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
    signers: Vec<Signer>,
}

struct Shared {
    url: String,
    keys: Mutex<Value>,
    mood: Mutex<Mood>,
    discoveries: AtomicUsize,
    fetches: AtomicUsize,
    /// What each request had as `authorization`, empty where it had none.
    authorizations: Mutex<Vec<String>>,
}

impl Issuer {
    /// Starts an issuer with a new ES256 key of kid `es256-1`.
    pub(crate) async fn start() -> Self {
        Self::with_signers(vec![Signer::es256("es256-1")]).await
    }

    pub(crate) async fn with_signers(signers: Vec<Signer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            url: format!("http://{address}"),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Honest),
            discoveries: AtomicUsize::new(0),
            fetches: AtomicUsize::new(0),
            authorizations: Mutex::default(),
        });
        let mut issuer = Self { address, shared, server: None, signers };
        issuer.publish();
        issuer.serve(listener);
        issuer
    }

    /// Its `iss`, and where discovery is.
    pub(crate) fn url(&self) -> &str {
        &self.shared.url
    }

    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/jwks", self.url())
    }

    /// A token with these claims, `iss` put in where it is missing, signed by the first key.
    pub(crate) fn token(&self, mut claims: Value) -> String {
        if claims.get("iss").is_none() {
            claims["iss"] = json!(self.url());
        }
        self.signers[0].token(&claims)
    }

    /// A token over this very text.
    pub(crate) fn token_over(&self, claims: &str) -> String {
        let signer = &self.signers[0];
        let header = json!({"alg": signer.alg(), "typ": "JWT", "kid": signer.kid});
        signer.compact(signer.alg(), header.to_string(), claims)
    }

    /// What each request so far had as `authorization`, empty where it had none.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.shared.authorizations.lock().unwrap().clone()
    }

    /// Claims of a proof that lives five minutes from `now` (seconds).
    pub(crate) fn claims(&self, now: i64, audience: &str, subject: &str) -> Value {
        json!({"iss": self.url(), "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 300})
    }

    /// Publishes these keys from now on; the first signs.
    pub(crate) fn rotate(&mut self, signers: Vec<Signer>) {
        self.signers = signers;
        self.publish();
    }

    /// Publishes these JWKs beside its own.
    pub(crate) fn publish_beside(&self, more: &[Value]) {
        let own = self.signers.iter().map(Signer::published_jwk);
        let keys: Vec<Value> = own.chain(more.iter().cloned()).collect();
        *self.shared.keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub(crate) fn behave(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How often the JWK set was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// How often anything was.
    pub(crate) fn requests(&self) -> usize {
        self.fetches() + self.shared.discoveries.load(Ordering::SeqCst)
    }

    /// Closes the port.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// Opens the same port again.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.expect("its own port again");
        self.serve(listener);
    }

    fn publish(&self) {
        let keys: Vec<Value> = self.signers.iter().map(Signer::published_jwk).collect();
        *self.shared.keys.lock().unwrap() = json!({ "keys": keys });
    }

    fn serve(&mut self, listener: TcpListener) {
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .with_state(Arc::clone(&self.shared));
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, app).await.expect("a test's server ends by abort");
        }));
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

async fn discovery(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.discoveries.fetch_add(1, Ordering::SeqCst);
    let authorization = shared.note(&headers);
    let (mut issuer, mut keys) = (shared.url.clone(), format!("{}/jwks", shared.url));
    let mood = shared.next_mood();
    match &mood {
        Mood::Impostor(other) => issuer.clone_from(other),
        Mood::KeysElsewhere(other) => keys.clone_from(other),
        _ => {}
    }
    answer(mood, &authorization, json!({"issuer": issuer, "jwks_uri": keys}).to_string()).await
}

async fn jwks(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let authorization = shared.note(&headers);
    let mood = shared.next_mood();
    let mut keys = shared.keys.lock().unwrap().to_string();
    if let Mood::Huge(bytes) = mood {
        keys.push_str(&" ".repeat(bytes));
    }
    answer(mood, &authorization, keys).await
}

impl Shared {
    fn next_mood(&self) -> Mood {
        let mut mood = self.mood.lock().unwrap();
        if *mood == Mood::BrokenOnce {
            *mood = Mood::Honest;
            return Mood::Broken;
        }
        mood.clone()
    }

    fn note(&self, headers: &HeaderMap) -> String {
        let value = headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
        self.authorizations.lock().unwrap().push(value.to_owned());
        value.to_owned()
    }
}

async fn answer(mood: Mood, authorization: &str, body: String) -> Response {
    // Closed each time, so that a stopped issuer is gone for those who were connected too.
    let builder = Response::builder().header(header::CONNECTION, "close");
    let response = match mood {
        Mood::Guarded(bearer) if authorization != format!("Bearer {bearer}") => {
            builder.status(StatusCode::UNAUTHORIZED).body(Body::empty())
        }
        Mood::Broken => builder.status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()),
        Mood::Redirects(to) => {
            builder.status(StatusCode::FOUND).header(header::LOCATION, to).body(Body::empty())
        }
        Mood::Slow(time) => {
            tokio::time::sleep(time).await;
            builder.body(Body::from(body))
        }
        _ => builder.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)),
    };
    response.expect("well-formed")
}
