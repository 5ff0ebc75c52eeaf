//! The permissions in one token.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::permission::{GrantedPermission, Origin};

/// What a token will allow, and for how long. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub permissions: Permissions,
    pub ttl: Duration,
}

/// A list of permissions that does not change, with what tokens, events and answers say of it. Each of these
/// is made once, and clones share it, for an agent gets the same permissions again and again.
#[derive(Clone, Default)]
pub struct Permissions(Option<Arc<Shared>>);

struct Shared {
    list: Vec<GrantedPermission>,
    json: OnceLock<Box<RawValue>>,
    scope: OnceLock<Arc<str>>,
    resources: OnceLock<Vec<Arc<str>>>,
}

impl From<Vec<GrantedPermission>> for Permissions {
    fn from(list: Vec<GrantedPermission>) -> Self {
        let lazily =
            |list| Shared { list, json: OnceLock::new(), scope: OnceLock::new(), resources: OnceLock::new() };
        Self((!list.is_empty()).then(|| Arc::new(lazily(list))))
    }
}

impl FromIterator<GrantedPermission> for Permissions {
    fn from_iter<I: IntoIterator<Item = GrantedPermission>>(list: I) -> Self {
        Vec::from_iter(list).into()
    }
}

impl Permissions {
    /// `aud`: the origins in the grant, in order and without repeats.
    pub fn audience(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> =
            self.iter().flat_map(|p| p.locations.iter().map(|l| l.origin().clone())).collect();
        origins.sort_unstable();
        origins.dedup();
        origins
    }

    /// `scope`: the same permissions as words, without repeats, in the grant's order.
    pub fn scope(&self) -> Arc<str> {
        self.0.as_ref().map_or_else(Arc::default, |shared| {
            Arc::clone(shared.scope.get_or_init(|| scope(&shared.list).into()))
        })
    }

    /// The names and the URLs in it, in order and without repeats.
    pub fn resources(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |shared| shared.resources.get_or_init(|| resources(&shared.list)))
    }
}

fn scope(list: &[GrantedPermission]) -> String {
    let mut seen = BTreeSet::new();
    let mut scope = String::new();
    for permission in list {
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

fn resources(list: &[GrantedPermission]) -> Vec<Arc<str>> {
    let texts = list.iter().flat_map(|permission| {
        std::iter::once(permission.identifier.as_str()).chain(permission.locations.iter().map(|l| l.as_str()))
    });
    texts.collect::<BTreeSet<&str>>().into_iter().map(Arc::from).collect()
}

impl Deref for Permissions {
    type Target = [GrantedPermission];

    fn deref(&self) -> &[GrantedPermission] {
        self.0.as_ref().map_or(&[], |shared| &shared.list)
    }
}

impl<'a> IntoIterator for &'a Permissions {
    type Item = &'a GrantedPermission;
    type IntoIter = std::slice::Iter<'a, GrantedPermission>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Permissions {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Permissions {}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(shared) = &self.0 else { return [(); 0].serialize(serializer) };
        let json = shared
            .json
            .get_or_init(|| to_raw_value(&shared.list).expect("permissions are strings, which have a JSON"));
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
