//! Agents and permissions for the unit tests of every layer.

use super::Agent;
use crate::domain::permission::{Permission, ResourceKind};

/// An agent of `team-payments` with these permissions, and with no identity, no limit and nobody to delegate to.
pub(crate) fn agent(id: &str, permissions: Vec<Permission>) -> Agent {
    Agent {
        id: id.parse().unwrap(),
        purpose: "Works.".into(),
        owner: "team-payments".parse().unwrap(),
        max_ttl: None,
        tokens_per_minute: None,
        sender_constrained: false,
        may_delegate_to: Default::default(),
        identities: Vec::new(),
        permissions,
    }
}

/// A repository of no environment, limited to `refs`.
pub(crate) fn repository(
    name: &str,
    url: &str,
    refs: &[impl AsRef<str>],
    free: &[&str],
    gated: &[&str],
) -> Permission {
    Permission {
        name: name.parse().unwrap(),
        kind: ResourceKind::GitRepository,
        location: url.parse().unwrap(),
        environment: None,
        patterns: refs.iter().map(|pattern| pattern.as_ref().parse().unwrap()).collect(),
        free: free.iter().map(|action| action.parse().unwrap()).collect(),
        gated: gated.iter().map(|action| action.parse().unwrap()).collect(),
    }
}
