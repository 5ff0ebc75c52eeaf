//! `POST /oauth/revoke` (RFC 7009): an agent ends its own token. Holding it is enough.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::broker::Denied;
use crate::domain::reason::Reason;
use crate::http::Gate;
use crate::http::body::Form;
use crate::http::call::Current;
use crate::http::oauth_error::Refused;

/// Clients that authenticate at the token endpoint do so here too. Holding the token is enough to end it, so
/// nothing of that is looked at: a stale assertion must not keep a token alive.
const KNOWN: &[(&str, bool)] = &[
    ("token", false),
    ("token_type_hint", false),
    ("client_id", false),
    ("client_assertion", false),
    ("client_assertion_type", false),
];

pub(super) async fn revoke(
    State(gate): State<Gate>,
    Current(call): Current,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let refuse = |denied: Denied| Refused::new(call, denied);
    let form = Form::read(request, KNOWN).await.map_err(refuse)?;
    let token = form.required("token").map_err(refuse)?;
    gate.broker.end(call, token).await.map_err(|error| {
        tracing::error!(%error, "a token could not be ended");
        // RFC 7009 §2.2.1: 503 tells the holder that the token must be assumed alive.
        Refused::new(call, Reason::RevocationUnavailable)
    })?;
    Ok(StatusCode::OK.into_response())
}
