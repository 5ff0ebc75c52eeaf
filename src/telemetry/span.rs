//! The span of a request. Every line that is logged while the request is answered carries its fields.

use tracing::Span;
use tracing::field::Empty;

use crate::domain::id::{AgentId, RequestId};

/// Opens the span of one request. `kind` is `method` and `route`, the path as the router knows it, so that no
/// word of the caller is in it.
///
/// Of the level ERROR, because a span that is filtered out would take the request's id out of the errors.
pub fn of_request(request: RequestId, method: &'static str, route: &str) -> Span {
    tracing::error_span!("request", request_id = %request, kind = %format_args!("{method} {route}"), agent = Empty)
}

/// Adds the agent to the span of the request that is being answered.
pub fn record_agent(agent: &AgentId) {
    Span::current().record("agent", agent.as_str());
}
