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

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions() -> Vec<GrantedPermission> {
        let text = r#"[{"type":"git_repository","identifier":"payments","locations":["https://github.com/acme/payments"],
            "actions":["read","push"],"refs":["refs/heads/agent/*"]},
            {"type":"http_endpoint","identifier":"ledger","locations":["https://ledger.acme.internal"],
            "actions":["GET"],"paths":["/v1/**"],"environment":"staging"},
            {"type":"git_repository","identifier":"payments","locations":["https://github.com/acme/payments"],
            "actions":["read"],"refs":["refs/tags/*"]}]"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn they_are_written_as_the_list_is_once_and_again() {
        for list in [Vec::new(), permissions()] {
            let shared = Permissions::from(list.clone());
            let expected = serde_json::to_string(&list).unwrap();
            for _ in 0..2 {
                assert_eq!(serde_json::to_string(&shared).unwrap(), expected);
                assert_eq!(serde_json::to_value(shared.clone()).unwrap().to_string().len(), expected.len());
            }
            assert_eq!(serde_json::from_str::<Permissions>(&expected).unwrap(), shared);
            assert_eq!(*shared, *list);
        }
    }

    #[test]
    fn scope_audience_and_resources_repeat_nothing() {
        let shared = Permissions::from(permissions());
        assert_eq!(*shared.scope(), *"payments:read payments:push ledger:GET");
        let origins: Vec<String> = shared.audience().iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["https://github.com", "https://ledger.acme.internal"]);
        let resources: Vec<&str> = shared.resources().iter().map(|name| &**name).collect();
        let all = ["https://github.com/acme/payments", "https://ledger.acme.internal", "ledger", "payments"];
        assert_eq!(resources, all);
        assert_eq!(*Permissions::default().scope(), *"");
    }
}
