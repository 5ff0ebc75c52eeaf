//! What `kind` sets where a key is left out.

use std::time::Duration;

use super::secure_url;
use crate::document::{Located, Mistakes, Table};
use crate::domain::platform::Platform;
use crate::identity::settings::ProofAlgorithm;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Addresses of Microsoft's that stand for every tenant: no token has one as its `iss`.
const EVERY_TENANT: &[&str] = &["common", "organizations", "consumers", "{tenantid}"];

const MICROSOFT: &[&str] = &["login.microsoftonline.com", "sts.windows.net"];

/// `iss` of a platform that has one for everybody.
fn default_url(platform: Platform) -> Option<&'static str> {
    match platform {
        Platform::Github => Some("https://token.actions.githubusercontent.com"),
        Platform::Gitlab => Some("https://gitlab.com"),
        Platform::Google => Some("https://accounts.google.com"),
        Platform::Oidc | Platform::Kubernetes | Platform::Azure => None,
    }
}

/// One that belongs there, in TOML.
fn example_url(platform: Platform) -> &'static str {
    match platform {
        Platform::Oidc | Platform::Github => "\"https://token.actions.githubusercontent.com\"",
        Platform::Gitlab => "\"https://gitlab.com\"",
        Platform::Google => "\"https://accounts.google.com\"",
        Platform::Kubernetes => "\"https://kubernetes.default.svc.cluster.local\"",
        Platform::Azure => "\"https://login.microsoftonline.com/<tenant id>/v2.0\"",
    }
}

/// What platforms sign with.
pub(super) fn algorithms(platform: Platform) -> &'static [ProofAlgorithm] {
    use ProofAlgorithm::{Es256, Es384, Rs256};
    match platform {
        Platform::Oidc => &[Rs256, Es256],
        // An API server signs with the key that it was given.
        Platform::Kubernetes => &[Rs256, Es256, Es384],
        Platform::Github | Platform::Gitlab | Platform::Google | Platform::Azure => &[Rs256],
    }
}

/// How long ago a platform may have made the token that a workload has at hand.
pub(super) fn max_age(platform: Platform) -> Duration {
    match platform {
        // Made when the job asks.
        Platform::Oidc | Platform::Github => HOUR / 4,
        // GitLab makes it when the job starts; the kubelet renews it after 80 % of an hour; Google's
        // metadata server hands out the same one for most of an hour.
        Platform::Gitlab | Platform::Kubernetes | Platform::Google => HOUR,
        // Azure keeps a managed identity's token for up to a day.
        Platform::Azure => 24 * HOUR,
    }
}

/// `url`, or what it is for this platform. `known` says that the kind could be read.
pub(super) fn url(
    table: &Table<'_>,
    platform: Platform,
    known: bool,
    mistakes: &Mistakes,
) -> Option<Located<String>> {
    let field = table.key("url", example_url(platform));
    if !field.is_present() && !known {
        return None;
    }
    if let (false, Some(url)) = (field.is_present(), default_url(platform)) {
        return Some(Located { value: url.to_owned(), place: field.place().clone() });
    }
    let remedy = field.remedy();
    let (text, url) = secure_url(field.required(), mistakes)?;
    let host = url.host_str().unwrap_or_default();
    let mut segments = url.path_segments().into_iter().flatten();
    let every = segments.any(|segment| EVERY_TENANT.contains(&segment) || segment.starts_with("%7B"));
    if MICROSOFT.contains(&host) && every {
        let problem = "stands for every tenant, and is the iss of no token";
        mistakes.add(&text.place, problem, remedy);
        return None;
    }
    Some(text)
}

/// Warns where a platform is configured as if nothing were known of it.
pub(super) fn suggest(url: &Located<String>, mistakes: &Mistakes) {
    let bare = url.value.trim_end_matches('/');
    let of_microsoft = || {
        let host = bare.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        host.is_some_and(|host| MICROSOFT.contains(&host)).then_some(Platform::Azure)
    };
    let mut platforms = Platform::ALL.iter().copied();
    // GitHub gives an enterprise an address below its own.
    let is_of =
        |url: &str| bare.strip_prefix(url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let known = platforms.find(|platform| default_url(*platform).is_some_and(is_of)).or_else(of_microsoft);
    if let Some(platform) = known {
        mistakes.warn(
            &url.place,
            "is a known platform's, whose claims are not checked without its kind",
            format!("add kind = \"{platform}\""),
        );
    }
}
