//! `POST /oauth/introspect` (RFC 7662): is this token good, now, for the one who asks?

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::broker::{Audience, Denied, Inspection};
use crate::http::Gate;
use crate::http::authorization::Verifier;
use crate::http::body::Form;
use crate::http::call::Current;
use crate::http::oauth_error::Refused;
use crate::token::Claims;

const KNOWN: &[(&str, bool)] = &[("token", false), ("token_type_hint", false)];

/// RFC 7662 §2.2, with the token's own claims.
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    token_type: &'static str,
    #[serde(flatten)]
    claims: &'a Claims,
}

#[derive(Serialize)]
struct Inactive {
    active: bool,
}

pub(super) async fn introspect(
    verifier: Verifier,
    State(gate): State<Gate>,
    Current(call): Current,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let refuse = |denied: Denied| Refused::new(call, denied);
    let form = Form::read(request, KNOWN).await.map_err(refuse)?;
    let token = form.required("token").map_err(refuse)?;
    let audience = match &verifier {
        Verifier::Operator => Audience::Operator,
        Verifier::ResourceServer(callers, at) => Audience::Origins(&callers.resource_server(*at).origins),
    };
    let no_store = [(CACHE_CONTROL, "no-store")];
    Ok(match gate.broker.introspect(token, audience).await.map_err(refuse)? {
        Inspection::Active(claims) => {
            let answer = Active { active: true, token_type: claims.token_type(), claims: &claims };
            (no_store, Json(answer)).into_response()
        }
        Inspection::Inactive => (no_store, Json(Inactive { active: false })).into_response(),
    })
}
