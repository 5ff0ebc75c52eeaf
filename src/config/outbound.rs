//! `[outbound]`: which way the broker asks issuers.

use crate::document::{Field, Mistakes, Table};
use crate::outbound::{BadProxy, Way};

/// Takes the proxy from the variables that other programs read too.
const ENVIRONMENT: &str = "environment";

/// `variables` are those of the whole environment that tell of proxies.
pub(super) fn read(root: &Table<'_>, variables: &[(String, String)], mistakes: &Mistakes) -> Option<Way> {
    let section = root.section("outbound");
    let proxy = section.key("proxy", "\"http://proxy.example:3128\"");
    let except = section.key("no_proxy", "[\"acme.internal\", \"10.0.0.0/8\"]");
    if !proxy.is_present() {
        if except.is_present() {
            let remedy = "write outbound.proxy, or take it out";
            mistakes.add(except.place(), "has no meaning without outbound.proxy", remedy);
        }
        return Some(Way::default());
    }
    let text = proxy.text()?;
    if text.value == ENVIRONMENT {
        if except.is_present() {
            let remedy = "set NO_PROXY, or write the proxy's URL";
            mistakes.add(except.place(), "has no meaning with proxy = \"environment\"", remedy);
        }
        let find =
            |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let way = Way::of_environment(find);
        return way
            .map_err(|(name, bad)| mistakes.add(&text.place, format!("{name} {bad}"), "correct the variable"))
            .ok();
    }
    // Without a scheme it may as well be a misspelt word.
    let has_scheme = text.value.contains("://");
    let way = if has_scheme { Way::by(&text.value, &list(except)?) } else { Err(BadProxy::NoUrl) };
    let remedy =
        "write proxy = \"http://proxy.example:3128\", or \"environment\" for HTTPS_PROXY and NO_PROXY";
    match way {
        Err(bad) => {
            mistakes.add(&text.place, bad.to_string(), remedy);
            None
        }
        Ok(way) if way.has_credentials() => {
            let remedy = "write \"environment\", and set HTTPS_PROXY";
            mistakes.add(&text.place, "holds credentials, which belong in no file", remedy);
            None
        }
        Ok(way) => Some(way),
    }
}

/// As `NO_PROXY` has them.
fn list(except: Field<'_>) -> Option<String> {
    if !except.is_present() {
        return Some(String::new());
    }
    let names = except.list::<String>()?.value.into_iter();
    Some(names.map(|name| name.value).collect::<Vec<_>>().join(","))
}
