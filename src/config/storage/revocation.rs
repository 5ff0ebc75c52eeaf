//! `[revocation]`.

use std::time::Duration;

use super::connection::{Examples, Keys, Server, one_password, optional};
use crate::config::weak;
use crate::document::{Field, Located, Mistakes, Place, Table, wrong_value};
use crate::revocation::settings::{
    Backend, RedisSettings, RedisUrl, RevocationSettings, SentinelSettings, Servers, UrlError,
};
use crate::store::settings::StoreSettings;

const MEMORY: &str = "memory:";
const DEFAULT_STALENESS: Duration = Duration::from_secs(2);

const EXAMPLES: Examples = Examples {
    password_file: "\"/run/secrets/redis-password\"",
    ca_file: "\"/etc/hallpass/redis-ca.pem\"",
    client_cert_file: "\"/etc/hallpass/redis-client.pem\"",
    client_key_file: "\"/run/secrets/redis-client.key\"",
};

/// A view older than this is no view.
const STALENESS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A drill takes up to ten seconds where somebody is late.
const DRILLS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);

/// The settings, and how often the broker drills by itself: never without the key. None where they are wrong.
pub(in crate::config) fn revocation(
    root: &Table<'_>,
    store: Option<&StoreSettings>,
    mistakes: &Mistakes,
) -> (Option<RevocationSettings>, Option<Option<Duration>>) {
    let section = root.section("revocation");
    let drill_every = optional(section.key("drill_every", "\"24h\""), |field| field.duration(DRILLS));
    (settings(&section, store, mistakes), drill_every)
}

fn settings(
    section: &Table<'_>,
    store: Option<&StoreSettings>,
    mistakes: &Mistakes,
) -> Option<RevocationSettings> {
    let max_staleness =
        section.key("max_staleness", "\"2s\"").or(DEFAULT_STALENESS, |field| field.duration(STALENESS));
    let server = Server { section: "revocation", name: "Redis" };
    let keys = Keys::ask(section, server, &EXAMPLES);
    let sentinel_username = section.key("sentinel_username", "\"hallpass\"");
    let sentinel_password_file = section.key("sentinel_password_file", "\"/run/secrets/sentinel-password\"");
    let sentinel_password = section.secret_variable("sentinel_password");
    let sentinel_tls = section.key("sentinel_tls", "true");
    let url = section.key("url", "\"redis://127.0.0.1:6379\"");
    let url = url.or(MEMORY.to_owned(), |url| url.text())?;

    let of_sentinels = [
        written(&sentinel_username),
        written(&sentinel_password_file),
        written(&sentinel_tls),
        place_of(&sentinel_password),
    ];
    let refuse = |place, why: &str, remedy: &str| mistakes.add(place, why, remedy);
    if url.value == MEMORY {
        if let Some(StoreSettings::Postgres(_)) = store {
            let remedy =
                "write url = \"redis://host:6379\" and so on, the same for every broker of the database";
            refuse(
                &url.place,
                "knows of one broker, and store.url names a database that several may share",
                remedy,
            );
        }
        let (problem, remedy) =
            ("has no meaning with revocation.url memory:", "take it out, or write url = \"redis://…\"");
        keys.refuse(problem, remedy, mistakes);
        for place in of_sentinels.iter().flatten() {
            refuse(place, problem, remedy);
        }
        return Some(RevocationSettings { backend: Backend::Memory, max_staleness: max_staleness?.value });
    }
    let redis = redis_url(&url, mistakes);
    let sentinel_tls_place = sentinel_tls.place().clone();
    let has_sentinels = redis.as_ref().is_none_or(|redis| matches!(redis.servers, Servers::Sentinels { .. }));
    if !has_sentinels {
        for place in of_sentinels.iter().flatten() {
            let remedy = "take it out, or write url = \"redis+sentinel://…\"";
            refuse(place, "has no meaning without sentinels", remedy);
        }
    }
    let sentinel_tls = optional(sentinel_tls, |field| field.boolean())?;
    if let Some(redis) = &redis {
        let some_tls = redis.tls || sentinel_tls == Some(true);
        if !some_tls {
            keys.refuse_tls("has no meaning without TLS", "write url = \"rediss://…\"", mistakes);
        }
        weak::redis(&url, redis, mistakes);
        if redis.tls && sentinel_tls == Some(false) {
            weak::sentinels(&sentinel_tls_place, redis, mistakes);
        }
    }
    let connection = keys.read(mistakes);
    let sentinel_username = optional(sentinel_username, |field| field.text());
    let sentinel_password = one_password(
        sentinel_password_file,
        sentinel_password,
        ("revocation.sentinel_password_file", "the sentinels' password"),
        mistakes,
    );
    let (url, connection) = (redis?, connection?);
    let backend = Backend::Redis(Box::new(RedisSettings {
        sentinel: SentinelSettings {
            username: sentinel_username?,
            password: sentinel_password?,
            tls: has_sentinels && sentinel_tls.unwrap_or(url.tls),
        },
        url,
        username: connection.username,
        password: connection.password,
        ca_file: connection.ca_file,
        client: connection.client,
    }));
    Some(RevocationSettings { backend, max_staleness: max_staleness?.value })
}

/// Where a key is written, if it is.
fn written(field: &Field<'_>) -> Option<Place> {
    field.is_present().then(|| field.place().clone())
}

fn place_of(variable: &Option<Located<&str>>) -> Option<Place> {
    variable.as_ref().map(|variable| variable.place.clone())
}

fn redis_url(url: &Located<String>, mistakes: &Mistakes) -> Option<RedisUrl> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    url.value.parse().map_or_else(|err: UrlError| refuse(&err.to_string(), err.remedy()), Some)
}
