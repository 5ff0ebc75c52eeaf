//! The permissions in one token.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::permission::{GrantedPermission, Origin};

/// What a token will allow, and for how long. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub permissions: Vec<GrantedPermission>,
    pub ttl: Duration,
}

impl Grant {
    /// `aud`: the origins in the grant, without repeats.
    pub fn audience(&self) -> BTreeSet<Origin> {
        self.permissions.iter().flat_map(|p| p.locations.iter().map(|l| l.origin().clone())).collect()
    }

    /// `scope`: the same permissions as words, without repeats, in the grant's order.
    pub fn scope(&self) -> String {
        let mut seen = BTreeSet::new();
        let mut scope = String::new();
        for permission in &self.permissions {
            for action in permission.actions.iter().filter(|a| seen.insert((&permission.identifier, *a))) {
                if !scope.is_empty() {
                    scope.push(' ');
                }
                scope.push_str(permission.identifier.as_str());
                scope.push(':');
                scope.push_str(action.as_str());
            }
        }
        scope
    }
}
