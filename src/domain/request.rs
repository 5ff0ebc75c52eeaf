//! What a caller asks for: a narrowing of its registration.

use serde::Deserialize;

/// The narrowing parameters of a token request, read but not yet compared with any registration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    /// The words of `scope` (RFC 6749 §3.3), in the order asked. Empty: not narrowed by scope.
    pub scope: Vec<String>,
    /// `authorization_details` (RFC 9396 §2). Empty: not narrowed by details.
    pub details: Vec<DetailRequest>,
    /// The values of `resource` (RFC 8707 §2) and `audience` (RFC 8693 §2.1), without our own issuer.
    pub resources: Vec<String>,
    /// `requested_ttl`, seconds; never zero.
    pub ttl: Option<u32>,
}

/// One element of a request's `authorization_details`: `type` and `identifier` are required, a member
/// left out is not narrowed, an unknown member is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailRequest {
    #[serde(rename = "type")]
    pub kind: String,
    pub identifier: String,
    pub locations: Option<Vec<String>>,
    pub actions: Option<Vec<String>>,
    pub refs: Option<Vec<String>>,
    pub paths: Option<Vec<String>>,
    pub environment: Option<String>,
}
