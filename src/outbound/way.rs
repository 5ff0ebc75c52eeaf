//! Which way requests go: to their host, or by a proxy.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Proxy;
use url::{Host, Url};

use super::Error;

/// The proxy that a client asks by, and who is asked without.
///
/// What goes to this machine never goes by a proxy. Neither does plain http, which goes to no other machine anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way(Option<Box<ByProxy>>);

#[derive(Clone, PartialEq, Eq)]
struct ByProxy {
    /// May hold a password, where it comes from the environment.
    url: Url,
    /// As `NO_PROXY` lists them.
    except: String,
}

/// Why a proxy cannot be used. Says nothing of its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    #[error("is not a URL such as http://proxy.example:3128")]
    NoUrl,
    #[error("must be http or https: other kinds of proxies are not supported")]
    Scheme,
}

impl Way {
    /// By the proxy at `url` to all hosts but those that `except` lists as `NO_PROXY` does: names with what is below
    /// them, addresses and networks, or `*`.
    ///
    /// # Errors
    /// When it is no proxy over http or https.
    pub fn by(url: &str, except: &str) -> Result<Self, BadProxy> {
        // As curl takes it, too.
        let url = if url.contains("://") { url.parse() } else { format!("http://{url}").parse::<Url>() };
        let url = url.map_err(|_| BadProxy::NoUrl)?;
        match (url.scheme(), url.host_str()) {
            ("http" | "https", Some(host)) if !host.is_empty() => {
                Ok(Self(Some(Box::new(ByProxy { url, except: except.to_owned() }))))
            }
            ("http" | "https", _) => Err(BadProxy::NoUrl),
            _ => Err(BadProxy::Scheme),
        }
    }

    /// What the environment says: `HTTPS_PROXY` or else `ALL_PROXY`, but for `NO_PROXY`; each in lower case too, which
    /// goes first.
    ///
    /// # Errors
    /// As [`Way::by`]; with the variable's name.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, (&'static str, BadProxy)> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let proxy = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .into_iter()
            .find_map(|name| Some((name, set(name)?)));
        let Some((name, url)) = proxy else { return Ok(Self::default()) };
        let except = set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default();
        Self::by(&url, &except).map_err(|bad| (name, bad))
    }

    /// Whether the proxy's address holds a user or a password.
    pub fn has_credentials(&self) -> bool {
        let holds = |by: &ByProxy| !by.url.username().is_empty() || by.url.password().is_some();
        self.0.as_deref().is_some_and(holds)
    }

    /// The proxy for `url`, if it goes by one.
    fn proxy_for(&self, url: &Url) -> Option<&ByProxy> {
        let by = self.0.as_deref().filter(|_| url.scheme() == "https" && !is_this_machine(url))?;
        let matcher = Matcher::builder().all("http://proxy.invalid").no(by.except.as_str()).build();
        let target = url.as_str().parse().ok()?;
        matcher.intercept(&target).map(|_| by)
    }

    /// The proxy's name for an error about `url`; none where it is asked without.
    pub(super) fn name_for(&self, url: &Url) -> Option<String> {
        let url = &self.proxy_for(url)?.url;
        let port = url.port_or_known_default().unwrap_or_default();
        Some(format!("{}:{port}", url.host_str().unwrap_or_default()))
    }

    pub(super) fn apply(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, Error> {
        // Also keeps the variables of the environment from being read.
        let builder = builder.no_proxy();
        if self.0.is_none() {
            return Ok(builder);
        }
        let way = self.clone();
        Ok(builder.proxy(Proxy::custom(move |url| way.proxy_for(url).map(|by| by.url.clone()))))
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    }
}

impl fmt::Debug for ByProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, except) = (self.url.host_str().unwrap_or_default(), &self.except);
        write!(f, "{host}:{}, but for {except:?}", self.url.port_or_known_default().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(way: &Way, url: &str) -> Option<String> {
        way.name_for(&url.parse().unwrap())
    }

    #[test]
    fn only_what_leaves_this_machine_and_is_not_listed_goes_by_the_proxy() {
        let way =
            Way::by("http://user:canary@proxy.example:3128", "acme.internal, .corp,10.0.0.0/8").unwrap();
        let proxy = Some("proxy.example:3128".to_owned());
        for (url, by) in [
            ("https://token.actions.githubusercontent.com/x", &proxy),
            ("https://notacme.internal", &proxy),
            ("https://acme.internal", &None),
            ("https://login.acme.internal:8443", &None),
            ("https://a.corp", &None),
            ("https://10.2.3.4", &None),
            ("https://127.0.0.1:8443", &None),
            ("https://[::1]", &None),
            ("https://localhost", &None),
            ("http://localhost:8700", &None),
        ] {
            assert_eq!(&name(&way, url), by, "{url}");
        }
        assert!(way.has_credentials() && !format!("{way:?}").contains("canary"), "{way:?}");
        assert_eq!(name(&Way::by("proxy:1", "*").unwrap(), "https://a.test"), None);
        assert_eq!(name(&Way::default(), "https://a.test"), None);
    }

    #[test]
    fn the_environment_is_read_as_other_programs_read_it() {
        let of = |set: &[(&str, &str)]| {
            let find =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            Way::of_environment(find).map(|way| name(&way, "https://a.test"))
        };
        let by = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("HTTP_PROXY", "http://p:1")]), Ok(None), "which is for plain http alone");
        assert_eq!(of(&[("HTTPS_PROXY", "http://p:1")]), by("p:1"));
        assert_eq!(of(&[("HTTPS_PROXY", "p:1"), ("https_proxy", "p:2")]), by("p:2"));
        assert_eq!(of(&[("ALL_PROXY", "https://p")]), by("p:443"));
        assert_eq!(of(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a.test")]), Ok(None));
        assert_eq!(of(&[("HTTPS_PROXY", "")]), Ok(None));
        assert_eq!(of(&[("all_proxy", "socks5://p:1")]), Err(("all_proxy", BadProxy::Scheme)));
        assert_eq!(of(&[("HTTPS_PROXY", "http://")]), Err(("HTTPS_PROXY", BadProxy::NoUrl)));
    }
}
