//! `[revocation]`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::files;
use crate::config::weak::{self, Others};
use crate::document::{Field, Located, Mistakes, Place, Table, wrong_value};
use crate::domain::client_certificate::{ClientFiles, client_pair};
use crate::revocation::settings::{
    Backend, RedisSettings, RedisUrl, RevocationSettings, SentinelSettings, Servers, UrlError,
};
use crate::store::settings::StoreSettings;

const MEMORY: &str = "memory:";
const DEFAULT_STALENESS: Duration = Duration::from_secs(2);

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
    let username = section.key("username", "\"hallpass\"");
    let password_file = section.key("password_file", "\"/run/secrets/redis-password\"");
    let password = section.secret_variable("password");
    let ca_file = section.key("ca_file", "\"/etc/hallpass/redis-ca.pem\"");
    let client_cert_file = section.key("client_cert_file", "\"/etc/hallpass/redis-client.pem\"");
    let client_key_file = section.key("client_key_file", "\"/run/secrets/redis-client.key\"");
    let sentinel_username = section.key("sentinel_username", "\"hallpass\"");
    let sentinel_password_file = section.key("sentinel_password_file", "\"/run/secrets/sentinel-password\"");
    let sentinel_password = section.secret_variable("sentinel_password");
    let sentinel_tls = section.key("sentinel_tls", "true");
    let url = section.key("url", "\"redis://127.0.0.1:6379\"");
    let url = url.or(MEMORY.to_owned(), |url| url.text())?;

    let of_tls = [&ca_file, &client_cert_file, &client_key_file].map(written);
    let of_redis = [written(&username), written(&password_file), place_of(&password)];
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
        for place in of_redis.iter().chain(&of_tls).chain(&of_sentinels).flatten() {
            let remedy = "take it out, or write url = \"redis://…\"";
            refuse(place, "has no meaning with revocation.url memory:", remedy);
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
            for place in of_tls.iter().flatten() {
                refuse(place, "has no meaning without TLS", "write url = \"rediss://…\"");
            }
        }
        weak::redis(&url, redis, mistakes);
        if redis.tls && sentinel_tls == Some(false) {
            weak::sentinels(&sentinel_tls_place, redis, mistakes);
        }
    }
    let username = optional(username, |field| field.text());
    let password =
        one_password(password_file, password, ("revocation.password_file", "the Redis password"), mistakes);
    let ca_file = optional(ca_file, |field| files::roots(field, mistakes));
    let client = client_files(client_cert_file, client_key_file, mistakes);
    let sentinel_username = optional(sentinel_username, |field| field.text());
    let sentinel_password = one_password(
        sentinel_password_file,
        sentinel_password,
        ("revocation.sentinel_password_file", "the sentinels' password"),
        mistakes,
    );
    let url = redis?;
    let backend = Backend::Redis(Box::new(RedisSettings {
        sentinel: SentinelSettings {
            username: sentinel_username?,
            password: sentinel_password?,
            tls: has_sentinels && sentinel_tls.unwrap_or(url.tls),
        },
        url,
        username: username?,
        password: password?,
        ca_file: ca_file?,
        client: client?,
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

/// The client certificate for Redis and its key, which stand together or not at all.
fn client_files(cert: Field<'_>, key: Field<'_>, mistakes: &Mistakes) -> Option<Option<ClientFiles>> {
    if !cert.is_present() && !key.is_present() {
        return Some(None);
    }
    let (cert, key) = (cert.required(), key.required());
    let (cert, key) = (files::readable(cert, mistakes), files::readable(key, mistakes));
    let (cert, key) = (cert?, key?);
    weak::readable(&key, "the key of Redis's client certificate", Others::AndGroup, mistakes);
    let read = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
    if mistakes.judge_files()
        && let Err(problem) = client_pair(&read(&cert.value), &read(&key.value))
    {
        mistakes.add(&cert.place, problem, "name a certificate in PEM and its private key");
        return None;
    }
    Some(Some(ClientFiles { cert: cert.value, key: key.value }))
}

/// `Some(None)` where the key is missing, `None` where it is wrong.
fn optional<'a, T>(
    field: Field<'a>,
    read: impl FnOnce(Field<'a>) -> Option<Located<T>>,
) -> Option<Option<T>> {
    if field.is_present() { read(field).map(|read| Some(read.value)) } else { Some(None) }
}

fn one_password(
    file: Field<'_>,
    variable: Option<Located<&str>>,
    (key, whose): (&str, &str),
    mistakes: &Mistakes,
) -> Option<Option<SecretString>> {
    match variable {
        Some(variable) if file.is_present() => {
            mistakes.add(&variable.place, format!("{key} names one too"), "keep one of the two");
            None
        }
        Some(variable) => Some(Some(SecretString::from(variable.value))),
        None => optional(file, |file| files::password(file, whose, mistakes)),
    }
}

fn redis_url(url: &Located<String>, mistakes: &Mistakes) -> Option<RedisUrl> {
    let refuse = |problem: &str, remedy: &str| {
        mistakes.add(&url.place, wrong_value(&url.value, problem), remedy);
        None
    };
    url.value.parse().map_or_else(|err: UrlError| refuse(&err.to_string(), err.remedy()), Some)
}
