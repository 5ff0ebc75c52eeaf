//! The place where a runner of GitHub Actions gets its job's identity token, with GitHub's manners: the
//! request token as a bearer, the audience in the query, `{"value": …}` back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::signer::Signer;

pub(crate) const REQUEST_TOKEN: &str = "canary-request-token";

pub(crate) struct GitHub {
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    signer: Signer,
    claims: Value,
    asked: Mutex<Vec<String>>,
    failures: Mutex<VecDeque<Response>>,
}

impl GitHub {
    /// Signs `claims` with `signer` for whatever audience is asked.
    pub(crate) async fn start(signer: Signer, claims: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/idtoken/4711?api-version=2.0", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { signer, claims, asked: Mutex::default(), failures: Mutex::default() });
        let app = Router::new().route("/idtoken/4711", get(token)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared }
    }

    /// The next request gets this answer.
    pub(crate) fn fail_once(&self, answer: impl IntoResponse) {
        self.shared.failures.lock().unwrap().push_back(answer.into_response());
    }

    /// The audiences that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let bearer = format!("bearer {REQUEST_TOKEN}");
    let sent = headers.get("authorization").map(|value| value.to_str().unwrap().to_lowercase());
    if sent.as_deref() != Some(&bearer) || query.first() != Some(&("api-version".into(), "2.0".into())) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some((_, audience)) = query.iter().find(|(name, _)| name == "audience") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    shared.asked.lock().unwrap().push(audience.clone());
    if let Some(failure) = shared.failures.lock().unwrap().pop_front() {
        return failure;
    }
    let mut claims = shared.claims.clone();
    claims["aud"] = json!(audience);
    axum::Json(json!({"count": 2037, "value": shared.signer.token(&claims)})).into_response()
}
