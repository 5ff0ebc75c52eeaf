//! The public listener: agents get tokens, verifiers check them.

mod health;
mod introspect;
mod metadata;
mod revoke;
mod token;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::broker::Call;
use crate::domain::reason::Reason;
use crate::http::Gate;
use crate::http::call::{Current, Identify, Turns};
use crate::http::oauth_error::Refused;

/// Where agents get tokens, below the public URL: what a DPoP proof's `htu` must say.
pub const TOKEN_PATH: &str = "/oauth/token";

/// Where a person would log in. Some SDKs read no metadata without the address; all it does is refuse (RFC 6749 §4.1.2.1).
const AUTHORIZATION_PATH: &str = "/oauth/authorize";

/// Every path of the public listener.
pub fn router(gate: Gate) -> Router {
    Router::new()
        .route(TOKEN_PATH, post(token::token))
        .route("/oauth/introspect", post(introspect::introspect))
        .route("/oauth/revoke", post(revoke::revoke))
        .route(AUTHORIZATION_PATH, get(authorize).post(authorize))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/.well-known/openid-configuration", get(metadata::openid_configuration))
        .route("/.well-known/jwks.json", get(metadata::jwks))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(async |Current(call): Current| Refused::new(call, Reason::PathUnknown))
        .method_not_allowed_fallback(async |Current(call): Current| {
            Refused::new(call, Reason::MethodNotAllowed)
        })
        .layer(Identify { gate: gate.clone(), fault, turns: Some(Turns::default()) })
        .with_state(gate)
}

/// Never redirects: no `redirect_uri` is registered, and one that a link brings must not be followed.
async fn authorize(Current(call): Current) -> Refused {
    Refused::new(call, Reason::ResponseTypeUnsupported)
}

fn fault(call: Call, reason: Reason) -> Response {
    Refused::new(call, reason).into_response()
}
