//! Permissions: one resource with its actions and their limits, registered or granted.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::PermissionName;
use crate::domain::pattern::Pattern;
use crate::domain::secure::is_secure;
use crate::domain::text::serialized_as_text;

/// The `type` of an element of `authorization_details` (RFC 9396 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    GitRepository,
    HttpEndpoint,
}

impl ResourceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitRepository => "git_repository",
            Self::HttpEndpoint => "http_endpoint",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("not a URL such as https://github.com/acme/payments")]
    Syntax,
    #[error("must be https, or http on a loopback host")]
    Insecure,
    #[error("must not hold a user, password, query or fragment")]
    Excess,
}

/// Where a resource is: an absolute URL in one spelling (lower-case host, no default port, no
/// trailing slash), with its origin at hand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    text: Arc<str>,
    origin: Origin,
}

/// Scheme, host and port (RFC 6454): what `aud` and `resource` name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port, the port only where it is not the scheme's own: `ledger.acme.internal:8443`.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or(&self.0, |(_, authority)| authority)
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        port.map_or(authority, |at| &authority[..at])
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl Location {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the location is a whole origin, without a path.
    pub fn is_origin(&self) -> bool {
        *self.text == *self.origin.0
    }
}

impl FromStr for Location {
    type Err = InvalidUrl;
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url: url::Url = text.parse().map_err(|_| InvalidUrl::Syntax)?;
        if url.host().is_none() || url.cannot_be_a_base() {
            return Err(InvalidUrl::Syntax);
        }
        if !is_secure(&url) {
            return Err(InvalidUrl::Insecure);
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(InvalidUrl::Excess);
        }
        let origin = url.origin().ascii_serialization();
        let path = url.path().trim_end_matches('/');
        Ok(Self { text: format!("{origin}{path}").into(), origin: Origin(origin.into()) })
    }
}

impl FromStr for Origin {
    type Err = InvalidUrl;
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let location: Location = text.parse()?;
        if location.is_origin() { Ok(location.origin) } else { Err(InvalidUrl::Excess) }
    }
}

/// The spellings under which the resource that somebody names may be registered: the text as it is and, of a URL, its
/// one spelling (the host in lower case, no last slash) with and without `.git`, because servers know a repository by both.
pub fn spellings(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    if let Ok(location) = text.parse::<Location>() {
        let bare = location.as_str().strip_suffix(".git").unwrap_or(location.as_str()).to_owned();
        let with_git = format!("{bare}.git");
        let others = if location.is_origin() { vec![bare] } else { vec![bare, with_git] };
        all.extend(others.into_iter().filter(|other| other != text));
    }
    all
}

serialized_as_text!(Location);
serialized_as_text!(Origin);
serialized_as_text!(Action);

/// What may be done: `read`, `push`, `merge`, `deploy`, `secrets:read`… on a repository, an HTTP
/// method on an endpoint. Ordered as people list them: `read` before what changes things.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Action(Arc<str>);

impl Ord for Action {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |action: &Self| *action.0 != *"read";
        (rank(self), &self.0).cmp(&(rank(other), &other.0))
    }
}

impl PartialOrd for Action {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an action is lower-case words such as `push` or `secrets:read`, or an HTTP method such as `GET`")]
pub struct InvalidAction;

impl Action {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the action is of the kind: methods for endpoints, words for repositories.
    pub fn fits(&self, kind: ResourceKind) -> bool {
        let method = self.0.starts_with(|c: char| c.is_ascii_uppercase());
        method == (kind == ResourceKind::HttpEndpoint)
    }

    /// Whether the action changes refs, and so must keep off the protected ones.
    pub fn writes_refs(&self) -> bool {
        *self.0 == *"push"
    }
}

impl FromStr for Action {
    type Err = InvalidAction;
    fn from_str(text: &str) -> Result<Self, InvalidAction> {
        let method = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        let words = text.len() <= 64 && text.split(':').all(word);
        if method || words { Ok(Self(text.into())) } else { Err(InvalidAction) }
    }
}

/// How freely an action may be used. Ordered: a later tier is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Free,
    Gated,
    Forbidden,
}

/// A permission as an agent's file registers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub name: PermissionName,
    pub kind: ResourceKind,
    pub location: Location,
    pub environment: Option<String>,
    /// Refs of a repository, paths of an endpoint. Never empty for an endpoint or where `push` is listed.
    pub patterns: Vec<Pattern>,
    pub free: BTreeSet<Action>,
    pub gated: BTreeSet<Action>,
}

impl Permission {
    /// What is not listed is forbidden.
    pub fn tier(&self, action: &Action) -> Tier {
        if self.gated.contains(action) {
            Tier::Gated
        } else if self.free.contains(action) {
            Tier::Free
        } else {
            Tier::Forbidden
        }
    }

    /// This permission with exactly these actions and all of its patterns.
    pub fn granting(&self, actions: impl IntoIterator<Item = Action>) -> GrantedPermission {
        let patterns = self.patterns.clone();
        let (refs, paths) = match self.kind {
            ResourceKind::GitRepository => (patterns, Vec::new()),
            ResourceKind::HttpEndpoint => (Vec::new(), patterns),
        };
        GrantedPermission {
            kind: self.kind,
            identifier: self.name.clone(),
            locations: vec![self.location.clone()],
            actions: actions.into_iter().collect(),
            refs,
            paths,
            environment: self.environment.clone(),
        }
    }
}

/// One element of a token's `authorization_details` (RFC 9396 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantedPermission {
    #[serde(rename = "type")]
    pub kind: ResourceKind,
    pub identifier: PermissionName,
    pub locations: Vec<Location>,
    pub actions: BTreeSet<Action>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl GrantedPermission {
    /// The patterns that limit it: refs or paths, by kind.
    pub fn patterns(&self) -> &[Pattern] {
        match self.kind {
            ResourceKind::GitRepository => &self.refs,
            ResourceKind::HttpEndpoint => &self.paths,
        }
    }

    /// Whether everything that `other` allows is allowed by this one: a partial order.
    pub fn covers(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.identifier == other.identifier
            && self.environment == other.environment
            && other.locations.iter().all(|location| self.locations.contains(location))
            && other.actions.is_subset(&self.actions)
            && patterns_cover(self.patterns(), other.patterns())
    }
}

/// Whether each pattern of `narrow` is covered by one of `wide`. An empty list limits nothing, so it
/// covers everything and is covered by an empty list alone.
pub fn patterns_cover(wide: &[Pattern], narrow: &[Pattern]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|n| wide.iter().any(|w| w.covers(n))))
}

#[cfg(test)]
mod tests;
