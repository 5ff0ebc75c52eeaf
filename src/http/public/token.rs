//! `POST /oauth/token`: a proof in, a token out (RFC 8693, RFC 7523, RFC 6749 §4.4).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::broker::{Call, Denied, Issued, Presented, Proof};
use crate::domain::grant::Permissions;
use crate::domain::reason::{OAuthError, Reason};
use crate::domain::request::{DetailRequest, MAX_DETAILS_BYTES, TokenRequest, TooMuch};
use crate::domain::time::Seconds;
use crate::http::Gate;
use crate::http::body::{Form, said};
use crate::http::call::Current;
use crate::http::oauth_error::Refused;
use crate::http::tls::ClientChain;

pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const CLIENT_CREDENTIALS: &str = "client_credentials";
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// draft-ietf-oauth-spiffe-client-auth §4.1.
const SVID_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// RFC 9449 §4.1 and §8.
const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Every parameter of the endpoint, and whether it may be given more than once.
const KNOWN: &[(&str, bool)] = &[
    ("grant_type", false),
    ("subject_token", false),
    ("subject_token_type", false),
    ("requested_token_type", false),
    ("assertion", false),
    ("actor_token", false),
    ("actor_token_type", false),
    ("client_assertion", false),
    ("client_assertion_type", false),
    ("client_id", false),
    ("scope", false),
    ("authorization_details", false),
    ("resource", true),
    ("audience", true),
    ("requested_ttl", false),
];

/// RFC 6749 §5.1 with RFC 8693 §2.2.1 and RFC 9396 §7.
/// `access_token` stands before these.
#[derive(Serialize)]
struct Answer<'a> {
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: Seconds,
    scope: Arc<str>,
    authorization_details: &'a Permissions,
}

pub(super) async fn token(
    State(gate): State<Gate>,
    Current(call): Current,
    request: Request<Body>,
) -> Response {
    // It holds all that an issuance needs: in a place of its own, that it is not moved with each layer around it.
    let answer = Box::pin(answer(&gate, call, request));
    let mut response = answer.await.unwrap_or_else(IntoResponse::into_response);
    // With every answer, as the client needs it for its next proof (RFC 9449 §8.2).
    let nonce = gate.broker.dpop_nonce().and_then(|nonce| HeaderValue::try_from(nonce).ok());
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

async fn answer(gate: &Gate, call: Call, request: Request<Body>) -> Result<Response, Refused> {
    let broker = &gate.broker;
    let dpop = match dpop(request.headers()) {
        Ok(dpop) => dpop,
        Err(denied) => return Err(Refused::new(call, broker.malformed(&call, denied).await)),
    };
    let chain = request.extensions().get::<ClientChain>().cloned();
    let form = match Form::read(request, KNOWN).await {
        Ok(form) => form,
        Err(denied) => return Err(Refused::new(call, broker.malformed(&call, denied).await)),
    };
    let (grant, proof) = match proof(&form, chain.as_ref()) {
        Ok(found) => found,
        Err(denied) => return Err(Refused::new(call, broker.malformed(&call, denied).await)),
    };
    let presented = Presented {
        proof,
        dpop: dpop.as_ref().map(|dpop| dpop.as_str()),
        parent: parent(&form),
        shown: chain.as_ref().and_then(ClientChain::thumbprint),
    };
    match broker.issue(&call, presented, narrowing(&form, broker.issuer())).await {
        Ok(issued) => Ok(released(&issued)),
        Err(denied) => Err(refused(Refused::new(call, denied.clone()), grant, denied.reason)),
    }
}

/// The DPoP proof, if there is one; there is never a choice of two (RFC 9449 §4.3 item 1).
fn dpop(headers: &HeaderMap) -> Result<Option<Zeroizing<String>>, Denied> {
    let mut values = headers.get_all(DPOP).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => match only.to_str() {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(said(Reason::DpopProofInvalid, "the DPoP header is not ASCII")),
        },
        _ => Err(said(Reason::DpopProofInvalid, "the request has more than one DPoP header")),
    }
}

fn released(issued: &Issued) -> Response {
    let answer = Answer {
        issued_token_type: ACCESS_TOKEN,
        token_type: issued.token_type,
        expires_in: issued.grant.ttl.into(),
        scope: issued.grant.permissions.scope(),
        authorization_details: &issued.grant.permissions,
    };
    // A token is base64url and dots: text that stands in JSON as it is, and is most of the answer.
    let (token, rest) = (issued.token.expose(), serde_json::to_string(&answer));
    let rest = rest.expect("an answer is strings and numbers, which have a JSON");
    let rest = rest.trim_start_matches('{');
    let body = [r#"{"access_token":""#, token, r#"","#, rest].concat();
    ([(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, "application/json")], body).into_response()
}

/// A bad proof has the name that its grant gives it: `invalid_grant` for an assertion (RFC 7521 §4.1.1),
/// `invalid_client` for a client's (§4.2.1), `invalid_request` for a subject token (RFC 8693 §2.2.2).
fn refused(refused: Refused, grant: &str, reason: Reason) -> Refused {
    match grant {
        JWT_BEARER if reason.is_of_proof() => refused.called(OAuthError::InvalidGrant),
        CLIENT_CREDENTIALS if reason.is_of_proof() => refused.called(OAuthError::InvalidClient),
        _ => refused,
    }
}

/// The grant and its proof; a proof of another grant beside it is a contradiction. A client certificate counts
/// where nothing else is the proof: a client may have one for other reasons.
fn proof<'a>(form: &'a Form, chain: Option<&'a ClientChain>) -> Result<(&'static str, Proof<'a>), Denied> {
    let only = |belong: &[&str]| -> Result<(), Denied> {
        let proofs = [
            "subject_token",
            "subject_token_type",
            "actor_token",
            "actor_token_type",
            "assertion",
            "client_assertion",
            "client_assertion_type",
        ];
        match proofs.iter().find(|name| !belong.contains(name) && form.get(name).is_some()) {
            Some(name) => {
                Err(said(Reason::ParameterInvalid, format!("{name} does not go with this grant_type")))
            }
            None => Ok(()),
        }
    };
    if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(said(
            Reason::ParameterInvalid,
            format!("requested_token_type can only be {ACCESS_TOKEN}"),
        ));
    }
    match form.required("grant_type")? {
        TOKEN_EXCHANGE if parent(form).is_some() => Ok((TOKEN_EXCHANGE, actor(form, chain)?)),
        TOKEN_EXCHANGE => {
            only(&["subject_token", "subject_token_type"])?;
            let token = form.required("subject_token")?;
            if !SUBJECT_TYPES.contains(&form.required("subject_token_type")?) {
                let types = format!(
                    "subject_token_type must be {}, or {ACCESS_TOKEN} to delegate",
                    SUBJECT_TYPES.join(" or ")
                );
                return Err(said(Reason::ParameterInvalid, types));
            }
            Ok((TOKEN_EXCHANGE, Proof::Jwt(token)))
        }
        JWT_BEARER => {
            only(&["assertion"])?;
            let (text, client_id) = (form.required("assertion")?, form.get("client_id"));
            Ok((JWT_BEARER, Proof::Bearer { text, client_id }))
        }
        CLIENT_CREDENTIALS => {
            only(&["client_assertion", "client_assertion_type"])?;
            Ok((CLIENT_CREDENTIALS, client(form, chain)?))
        }
        _ => Err(Reason::GrantTypeUnsupported.into()),
    }
}

/// The access token that is to be handed down: a `subject_token` that says it is one.
fn parent(form: &Form) -> Option<&str> {
    let exchange = form.get("grant_type") == Some(TOKEN_EXCHANGE);
    let is_ours = form.get("subject_token_type") == Some(ACCESS_TOKEN);
    form.get("subject_token").filter(|_| exchange && is_ours)
}

/// Who is to have a part of the parent's token: whom an `actor_token` proves (RFC 8693 §2.1), or the client
/// that authenticates. Never the bearer of the parent's token alone.
fn actor<'a>(form: &'a Form, chain: Option<&'a ClientChain>) -> Result<Proof<'a>, Denied> {
    let one = "exactly one of actor_token and client authentication says who is to have the token";
    if form.get("assertion").is_some() {
        return Err(said(Reason::ParameterInvalid, "assertion does not go with this grant_type"));
    }
    match (form.get("actor_token"), form.get("client_assertion")) {
        (Some(_), Some(_)) => Err(said(Reason::ParameterInvalid, one)),
        (Some(token), None) if SUBJECT_TYPES.contains(&form.required("actor_token_type")?) => {
            Ok(Proof::Jwt(token))
        }
        (Some(_), None) => {
            let types = format!("actor_token_type must be {}", SUBJECT_TYPES.join(" or "));
            Err(said(Reason::ParameterInvalid, types))
        }
        (None, None) if chain.is_none() => Err(said(Reason::ParameterMissing, one)),
        (None, _) => client(form, chain),
    }
}

/// How a client authenticates (RFC 6749 §4.4, RFC 7523 §2.2, draft-ietf-oauth-spiffe-client-auth).
fn client<'a>(form: &'a Form, chain: Option<&'a ClientChain>) -> Result<Proof<'a>, Denied> {
    let client_id = form.get("client_id");
    let kind = form.get("client_assertion_type");
    let text = match (form.get("client_assertion"), chain) {
        (Some(text), _) => text,
        (None, Some(ClientChain(chain))) if kind.is_none() => {
            return Ok(Proof::Certificate { chain, client_id });
        }
        (None, _) => {
            let missing = "client_assertion is required, or an X.509-SVID as the client certificate of TLS";
            return Err(said(Reason::ParameterMissing, missing));
        }
    };
    match form.required("client_assertion_type")? {
        ASSERTION_TYPE => Ok(Proof::Assertion { text, client_id }),
        SVID_TYPE => Ok(Proof::JwtSvid { text, client_id }),
        _ => Err(said(
            Reason::ParameterInvalid,
            format!("client_assertion_type must be {ASSERTION_TYPE} or {SVID_TYPE}"),
        )),
    }
}

/// What the request narrows. Its mistakes are told after the proof holds, to a matched agent.
fn narrowing(form: &Form, issuer: &str) -> Result<TokenRequest, Denied> {
    let scope = form.get("scope").map_or_else(Vec::new, |words| {
        words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    });
    let resources = form.all("resource").chain(form.all("audience").filter(|audience| *audience != issuer));
    Ok(TokenRequest {
        scope,
        resources: resources.map(str::to_owned).collect(),
        details: form.get("authorization_details").map_or(Ok(Vec::new()), details)?,
        ttl: form.get("requested_ttl").map(ttl).transpose()?,
    })
}

fn details(text: &str) -> Result<Vec<DetailRequest>, Denied> {
    if text.len() > MAX_DETAILS_BYTES {
        return Err(said(Reason::DetailsInvalid, TooMuch::Bytes.to_string()));
    }
    let details: Vec<DetailRequest> = serde_json::from_str(text).map_err(|error| {
        let place = format!("authorization_details, column {}", error.column());
        said(
            Reason::DetailsInvalid,
            format!("{place}: not an array of elements as RFC 9396 §2 and this broker know them"),
        )
    })?;
    if details.is_empty() {
        return Err(said(Reason::DetailsInvalid, "authorization_details must not be empty"));
    }
    Ok(details)
}

fn ttl(text: &str) -> Result<u32, Denied> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    // More digits than fit are more than is permitted, and give what is permitted.
    let seconds = digits.then(|| text.parse().unwrap_or(u32::MAX)).filter(|&seconds| seconds > 0);
    seconds
        .ok_or_else(|| said(Reason::ParameterInvalid, "requested_ttl is a positive whole number of seconds"))
}
