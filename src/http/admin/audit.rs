//! `/v1/audit`: what was issued, refused and stopped, and the proof that nothing of it was changed.

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::filter::event_filter;
use super::reads::Reading;
use super::{NoParameters, Parameters};
use crate::broker::Call;
use crate::http::Gate;
use crate::http::authorization::{AnyRole, Auditor};
use crate::http::call::Current;
use crate::http::problem::Problem;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;

event_filter! {
    Filter {
        /// 1 to 500; 100 where not given.
        limit: Option<u32>,
        /// From the `Link` of the page before.
        cursor: Option<String>,
    }
}

impl Filter {
    fn limit(&self, call: Call) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let fits = (1..=MAX_LIMIT).contains(&limit);
        fits.then_some(limit).ok_or_else(|| Problem::invalid(call, format!("`limit` is 1 to {MAX_LIMIT}")))
    }

    fn before(&self, call: Call) -> Result<Option<u64>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let before = bytes.map(u64::from_be_bytes);
        before
            .map(Some)
            .ok_or_else(|| Problem::invalid(call, "`cursor` comes from the Link of the page before"))
    }
}

/// Events, newest first.
#[utoipa::path(get, path = "/v1/audit/events", params(Filter),
    security(("operator" = ["auditor"]), ("operator" = ["admin"])),
    responses((status = 200, description = "`{\"events\":[…]}`, each event as it was hashed; the next page by Link")))]
pub(super) async fn events(
    _: Auditor,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(filter): Parameters<Filter>,
    uri: Uri,
    _: Reading,
) -> Result<Response, Problem> {
    let (wanted, limit, before) = (filter.events(call)?, filter.limit(call)?, filter.before(call)?);
    // One more than asked tells whether there is another page.
    let found = gate.broker.audit().events(&wanted, limit + 1, before).await;
    let mut found = found.map_err(|error| Problem::store(call, &error))?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let mut body = String::with_capacity(16 + found.iter().map(|event| event.bytes.len() + 1).sum::<usize>());
    body.push_str("{\"events\":[");
    for (at, event) in found.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&event.bytes);
    }
    body.push_str("]}");
    let mut response = ([(CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(last) = found.last().filter(|_| more)
        && let Ok(link) = HeaderValue::try_from(next_page(&uri, last.seq))
    {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// RFC 8288: the same query from where this page ended.
fn next_page(uri: &Uri, before: u64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("cursor", &URL_SAFE_NO_PAD.encode(before.to_be_bytes()));
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish())
}

/// A signed note (C2SP) that covers every event committed when it was asked for.
#[utoipa::path(get, path = "/v1/audit/checkpoint",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn checkpoint(
    _: AnyRole,
    State(gate): State<Gate>,
    Current(call): Current,
    _: Parameters<NoParameters>,
    _: Reading,
) -> Result<impl IntoResponse, Problem> {
    let note = gate.broker.audit().checkpoint().await.map_err(|error| Problem::store(call, &error))?;
    Ok((StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}

/// The verifier key of the checkpoints, in C2SP form.
#[utoipa::path(get, path = "/v1/audit/key",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn key(
    _: AnyRole,
    State(gate): State<Gate>,
    _: Parameters<NoParameters>,
    _: Reading,
) -> impl IntoResponse {
    let key = format!("{}\n", gate.broker.audit().verifier());
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8")], key)
}
