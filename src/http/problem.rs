//! Errors of the admin listener: problem details (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::broker::{Call, Denied, KillError};
use crate::domain::id::RequestId;
use crate::domain::reason::Reason;
use crate::store::StoreError;

/// One problem. Its reader is an operator, so it says what was wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
    #[schema(value_type = String)]
    request_id: RequestId,
}

impl Problem {
    pub(super) fn new(call: Call, status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            reason: None,
            request_id: call.request,
        }
    }

    pub(super) fn unauthorized(call: Call, reason: Reason) -> Self {
        let detail = format!("{}: send Authorization: Bearer with an operator key", reason.meaning());
        Self { reason: Some(reason), ..Self::new(call, StatusCode::UNAUTHORIZED, detail) }
    }

    pub(super) fn not_found(call: Call, what: impl Into<String>) -> Self {
        Self::new(call, StatusCode::NOT_FOUND, what)
    }

    pub(super) fn invalid(call: Call, what: impl Into<String>) -> Self {
        Self::new(call, StatusCode::BAD_REQUEST, what)
    }

    pub(super) fn denied(call: Call, denied: &Denied) -> Self {
        let status = match denied.reason {
            Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::Overloaded | Reason::JournalUnavailable | Reason::RevocationUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            reason if reason.is_fault() => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let detail = denied.description.as_deref().unwrap_or(denied.reason.meaning());
        Self { reason: Some(denied.reason), ..Self::new(call, status, detail) }
    }

    pub(super) fn store(call: Call, error: &StoreError) -> Self {
        tracing::error!(%error, "store");
        Self::new(call, StatusCode::SERVICE_UNAVAILABLE, format!("the store cannot be read: {error}"))
    }

    pub(super) fn kill(call: Call, error: &KillError) -> Self {
        let status = match error {
            KillError::UnknownTarget(_) | KillError::UnknownStop(_) => StatusCode::NOT_FOUND,
            KillError::Store(_)
            | KillError::Volatile
            | KillError::TooManyWait
            | KillError::Waits(_)
            | KillError::Unanswered => StatusCode::SERVICE_UNAVAILABLE,
            KillError::Random | KillError::Fault => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(%error, "kill switch");
        }
        Self::new(call, status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hallpass\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
