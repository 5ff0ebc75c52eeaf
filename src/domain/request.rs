//! What a caller asks for: a narrowing of its registration.

use crate::domain::optional::present;
use serde::Deserialize;

/// The longest `authorization_details`, bytes: a token of 16 KiB holds no more.
pub const MAX_DETAILS_BYTES: usize = 16 * 1024;

/// The most elements of `authorization_details`.
pub const MAX_ELEMENTS: usize = 64;

/// The most refs and paths in all elements together. Each is compared with each registered one, and with those
/// of the elements before it.
pub const MAX_PATTERNS: usize = 128;

/// The most words of `scope`.
pub const MAX_SCOPE_WORDS: usize = 256;

/// The most values of `resource` and `audience` together.
pub const MAX_RESOURCES: usize = 64;

/// A request that names more than is compared for one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("scope has more than {MAX_SCOPE_WORDS} words")]
    ScopeWords,
    #[error("more than {MAX_RESOURCES} values of resource and audience")]
    Resources,
    #[error("authorization_details has more than {MAX_DETAILS_BYTES} bytes")]
    Bytes,
    #[error("authorization_details has more than {MAX_ELEMENTS} elements")]
    Elements,
    #[error("authorization_details has more than {MAX_PATTERNS} refs and paths")]
    Patterns,
}

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

impl TokenRequest {
    /// Whether the request may be compared with a registration at all: asked before any comparison, for its
    /// sender decides how much there is to compare.
    pub fn check_bounds(&self) -> Result<(), TooMuch> {
        let patterns = self.details.iter().flat_map(|detail| detail.refs.iter().chain(&detail.paths));
        let patterns: usize = patterns.map(Vec::len).sum();
        if self.scope.len() > MAX_SCOPE_WORDS {
            Err(TooMuch::ScopeWords)
        } else if self.resources.len() > MAX_RESOURCES {
            Err(TooMuch::Resources)
        } else if self.details.len() > MAX_ELEMENTS {
            Err(TooMuch::Elements)
        } else if patterns > MAX_PATTERNS {
            Err(TooMuch::Patterns)
        } else if self.details.iter().map(DetailRequest::bytes).sum::<usize>() > MAX_DETAILS_BYTES {
            Err(TooMuch::Bytes)
        } else {
            Ok(())
        }
    }
}

/// One element of a request's `authorization_details`: `type` and `identifier` are required, a member
/// left out is not narrowed, an unknown member is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailRequest {
    #[serde(rename = "type")]
    pub kind: String,
    pub identifier: String,
    #[serde(default, deserialize_with = "present")]
    pub locations: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub actions: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub refs: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub paths: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub environment: Option<String>,
}

impl DetailRequest {
    /// The bytes of its texts, and as many for each as its quotes and comma take in JSON.
    pub fn bytes(&self) -> usize {
        let Self { kind, identifier, locations, actions, refs, paths, environment } = self;
        let lists = [locations, actions, refs, paths].into_iter().flatten().flatten();
        let texts = [kind, identifier].into_iter().chain(environment).chain(lists);
        texts.map(|text| text.len() + 3).sum()
    }
}
