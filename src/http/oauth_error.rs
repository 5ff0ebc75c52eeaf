//! Errors of the public listener: RFC 6749 §5.2 JSON with `reason` and `request_id`.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::broker::{Call, Denied};
use crate::domain::id::RequestId;
use crate::domain::reason::{OAuthError, Reason};

/// A refusal on its way to the caller.
pub(super) struct Refused {
    call: Call,
    denied: Denied,
    error: OAuthError,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    error_description: &'a str,
    reason: Reason,
    request_id: RequestId,
}

impl Refused {
    pub(super) fn new(call: Call, denied: impl Into<Denied>) -> Self {
        let denied = denied.into();
        Self { call, error: denied.reason.error(), denied }
    }

    /// The same under another `error`: the grant decides what a bad proof is called.
    pub(super) fn called(self, error: OAuthError) -> Self {
        Self { error, ..self }
    }

    fn status(&self) -> StatusCode {
        match self.error {
            _ if self.denied.reason == Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ if self.denied.reason == Reason::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ if self.denied.reason == Reason::PathUnknown => StatusCode::NOT_FOUND,
            _ if self.denied.reason == Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            OAuthError::InvalidClient => StatusCode::UNAUTHORIZED,
            OAuthError::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            OAuthError::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            OAuthError::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let reason = self.denied.reason;
        let body = Body {
            error: self.error.as_str(),
            error_description: self.denied.description.as_deref().unwrap_or(reason.meaning()),
            reason,
            request_id: self.call.request,
        };
        let status = self.status();
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"hallpass\", Basic realm=\"hallpass\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        let wait = self.denied.retry_after.map(|wait| wait.as_millis().div_ceil(1000).max(1));
        let wait = wait.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
        if let Some(wait) = wait.and_then(|seconds| HeaderValue::try_from(seconds.to_string()).ok()) {
            headers.insert(RETRY_AFTER, wait);
        }
        response
    }
}
