//! Where a broker listens, as a person names it.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::domain::secure::is_secure;

/// The address of one of the broker's listeners: https, or http on loopback; a path is a prefix. Slashes that are
/// too many, as a variable's value often has them, are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl(Url);

impl BrokerUrl {
    /// The address of `path`, which starts with `/`.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }

    pub fn is_on_host_of(&self, other: &Self) -> bool {
        self.0.host() == other.0.host()
    }

    /// Whether plain http may be spoken to it.
    pub fn is_this_machine(&self) -> bool {
        let mut plain = self.0.clone();
        plain.set_scheme("http").is_ok() && is_secure(&plain)
    }

    pub fn is_origin_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

impl FromStr for BrokerUrl {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url: Url = text.parse().map_err(|_| "not a URL such as https://hallpass.acme.internal")?;
        let bare = url.username().is_empty() && url.password().is_none();
        if !is_secure(&url) {
            return Err("must be https, or http on a loopback host: keys and tokens travel to it");
        }
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err("must not hold a user, password, query or fragment");
        }
        let path: String =
            url.path().split('/').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}
