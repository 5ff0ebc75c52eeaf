//! `[revocation]`.

use std::time::Duration;

use url::Url;

use super::connection::{Examples, Keys, Server};
use crate::config::weak;
use crate::document::{Located, Mistakes, Table, wrong_value};
use crate::revocation::settings::{Backend, RevocationSettings};

const DEFAULT_REVOCATION: &str = "memory:";
const DEFAULT_STALENESS: Duration = Duration::from_secs(2);

/// A view older than this is no view.
const STALENESS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

const REDIS: Server = Server { section: "revocation", name: "Redis" };

const EXAMPLES: Examples = Examples {
    password_file: "\"/run/secrets/redis-password\"",
    ca_file: "\"/etc/hallpass/redis-ca.pem\"",
    client_cert_file: "\"/etc/hallpass/redis-client.pem\"",
    client_key_file: "\"/run/secrets/redis-client.key\"",
};

pub(in crate::config) fn revocation(root: &Table<'_>, mistakes: &Mistakes) -> Option<RevocationSettings> {
    let section = root.section("revocation");
    let max_staleness =
        section.key("max_staleness", "\"2s\"").or(DEFAULT_STALENESS, |field| field.duration(STALENESS));
    let keys = Keys::ask(&section, REDIS, &EXAMPLES);
    let url = section.key("url", "\"redis://127.0.0.1:6379\"");
    let url = url.or(DEFAULT_REVOCATION.to_owned(), |url| url.text())?;
    if url.value == DEFAULT_REVOCATION {
        let remedy = "take it out, or write url = \"redis://…\"";
        keys.refuse("has no meaning with revocation.url memory:", remedy, mistakes);
        return Some(RevocationSettings { backend: Backend::Memory, max_staleness: max_staleness?.value });
    }
    let redis = redis(&url, mistakes);
    if redis.as_ref().is_some_and(|redis| redis.scheme() == "redis") {
        keys.refuse_tls("has no meaning without TLS", "write url = \"rediss://…\"", mistakes);
    }
    let keys = keys.read(mistakes);
    let (url, keys) = (redis?, keys?);
    let backend = Backend::Redis {
        url,
        username: keys.username,
        password: keys.password,
        ca_file: keys.ca_file,
        client: keys.client,
    };
    Some(RevocationSettings { backend, max_staleness: max_staleness?.value })
}

fn redis(url: &Located<String>, mistakes: &Mistakes) -> Option<Url> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    let remedy = "write memory: for one broker, redis://host:6379 or rediss://host:6379 for several";
    if url.value.starts_with("postgres://") || url.value.starts_with("postgresql://") {
        return refuse("PostgreSQL is the store: stops are spread by Redis", remedy);
    }
    let Ok(parsed) = url.value.parse::<Url>() else {
        return refuse("is not a URL", remedy);
    };
    if !matches!(parsed.scheme(), "redis" | "rediss") || parsed.host_str().is_none_or(str::is_empty) {
        return refuse("is not a store for revocations", remedy);
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let remedy = "write revocation.username, and password_file or HALLPASS_REVOCATION__PASSWORD";
        return refuse("holds credentials, and URLs end in logs", remedy);
    }
    let database = parsed.path().trim_start_matches('/');
    let numbered = database.is_empty() || database.parse::<u16>().is_ok();
    if parsed.query().is_some() || parsed.fragment().is_some() || !numbered {
        return refuse("has more than a host, a port and a database's number", remedy);
    }
    weak::redis(url, &parsed, mistakes);
    Some(parsed)
}
