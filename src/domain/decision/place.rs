//! What `resource` and `audience` name (RFC 8707 §2): an origin, the very URL of a registered resource, or a path of a
//! registered endpoint, as MCP servers call themselves (`https://mcp.acme.internal/mcp`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::domain::pattern::Pattern;
use crate::domain::permission::{GrantedPermission, Location, Permission, ResourceKind};

/// How much of a resource a place names.
enum Reach {
    Whole,
    /// This path alone, which holds no star.
    Path(Pattern),
}

/// How much of `permission` is at the places that were named; all of it where none was.
pub(super) fn held<'a>(
    permission: &'a Permission,
    places: &BTreeSet<Location>,
) -> Option<Cow<'a, Permission>> {
    if places.is_empty() {
        return Some(Cow::Borrowed(permission));
    }
    let mut paths = Vec::new();
    for place in places {
        match reach(permission.kind, &permission.location, &permission.patterns, place) {
            Some(Reach::Whole) => return Some(Cow::Borrowed(permission)),
            Some(Reach::Path(path)) => paths.push(path),
            None => {}
        }
    }
    (!paths.is_empty()).then(|| Cow::Owned(Permission { patterns: paths, ..permission.clone() }))
}

/// Whether anything of `permission` is at `place`.
pub(super) fn is_registered_at(permission: &Permission, place: &Location) -> bool {
    reach(permission.kind, &permission.location, &permission.patterns, place).is_some()
}

/// Whether anything of `element` is at `place`.
pub(super) fn is_granted_at(element: &GrantedPermission, place: &Location) -> bool {
    let reached = |location| reach(element.kind, location, element.patterns(), place).is_some();
    element.locations.iter().any(reached)
}

fn reach(kind: ResourceKind, location: &Location, patterns: &[Pattern], place: &Location) -> Option<Reach> {
    if location == place || (place.is_origin() && location.origin() == place.origin()) {
        return Some(Reach::Whole);
    }
    if kind != ResourceKind::HttpEndpoint || location.origin() != place.origin() {
        return None;
    }
    let path = place.as_str().strip_prefix(location.as_str()).filter(|path| !path.contains('*'))?;
    let path: Pattern = path.parse().ok()?;
    patterns.iter().any(|pattern| pattern.matches(path.as_str())).then_some(Reach::Path(path))
}
