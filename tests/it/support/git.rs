//! A real git server: `git http-backend` behind an axum route that takes tokens of a broker, which it asks
//! by introspection whether each is good for what git is about to do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::support::broker::{TestApp, client};
use crate::support::command::bare;

/// The schemes that the server's challenge names.
pub(crate) const BEARER: &str = "Bearer realm=\"hallpass\"";
pub(crate) const BASIC: &str = "Basic realm=\"hallpass\"";

pub(crate) struct GitServer {
    pub(crate) origin: String,
    folder: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    origin: String,
    root: PathBuf,
    challenge: &'static str,
    /// The broker's public listener and a key to introspect with, once there is a broker.
    broker: Mutex<Option<(String, String)>>,
    tokens: Mutex<Vec<String>>,
}

impl GitServer {
    /// With an empty repository for each name, such as `acme/payments.git`.
    pub(crate) async fn start(challenge: &'static str, repositories: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in repositories {
            let path = folder.path().join(name);
            let path = path.to_str().unwrap();
            assert!(
                bare("git")
                    .args(["init", "-q", "--bare", "-b", "main", path])
                    .status()
                    .await
                    .unwrap()
                    .success()
            );
            let receive = bare("git").args(["-C", path, "config", "http.receivepack", "true"]).status().await;
            assert!(receive.unwrap().success());
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            origin: origin.clone(),
            root: folder.path().to_owned(),
            challenge,
            broker: Mutex::default(),
            tokens: Mutex::default(),
        });
        let app = Router::new().fallback(serve).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { origin, folder, shared }
    }

    /// Takes the tokens of this broker from now on.
    pub(crate) fn trust(&self, app: &TestApp) {
        *self.shared.broker.lock().unwrap() = Some((app.public.clone(), app.operator.clone()));
    }

    /// Every token that it was shown, and that was good.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.shared.tokens.lock().unwrap().clone()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let good = match authorization.as_deref().and_then(|sent| presented(sent, shared.challenge)) {
        Some(token) => allows(&shared, &token, &head).await,
        None => false,
    };
    if !good {
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", shared.challenge)]).into_response();
    }
    backend(&shared.root, &head, body).await
}

/// The token in `Authorization`, under the scheme of the challenge alone.
fn presented(sent: &str, challenge: &str) -> Option<String> {
    if challenge == BEARER {
        return sent.strip_prefix("Bearer ").map(str::to_owned);
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(sent.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("x-access-token:").map(str::to_owned)
}

async fn allows(shared: &Shared, token: &str, head: &Parts) -> bool {
    let (url, key) = shared.broker.lock().unwrap().clone().expect("a broker");
    let asked = client().post(format!("{url}/oauth/introspect")).bearer_auth(key);
    let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    let asked = asked.header("content-type", "application/x-www-form-urlencoded").body(body).send().await;
    let said: Value = serde_json::from_str(&asked.unwrap().text().await.unwrap()).unwrap();
    if said["active"] != true {
        return false;
    }
    let path = head.uri.path();
    let repository = path.split(".git").next().unwrap();
    let pushes = path.ends_with("git-receive-pack") || head.uri.query() == Some("service=git-receive-pack");
    let action = if pushes { "push" } else { "read" };
    // Good for this and for nothing else.
    let [granted] = said["authorization_details"].as_array().unwrap().as_slice() else { return false };
    let here = granted["locations"] == serde_json::json!([format!("{}{repository}", shared.origin)]);
    let allowed = here && granted["actions"].as_array().unwrap().iter().any(|word| word == action);
    if allowed {
        shared.tokens.lock().unwrap().push(token.to_owned());
    }
    allowed
}

/// CGI (RFC 3875), as far as git needs it.
async fn backend(root: &Path, head: &Parts, body: Bytes) -> Response {
    let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let mut child = bare("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", head.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", "agent")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the headers");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
